package delivery_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/test/delivery"
	"github.com/aegisx/pushd/test/harness"
)

// bug is a change of pushd's own code that breaks a promise.
type bug struct {
	file string
	// before must stand in the file exactly once; after takes its place.
	before, after string
	// want is part of a fault that must be found.
	want string
}

// bugs are what the ledger must find. The places change with the code: a test
// that does not find one says so.
func bugs() map[string]bug {
	const deliver = "\t\tl.messagesOut++\n\t\tc.sendLocked(f)\n"
	return map[string]bug{
		"drop one": {
			"internal/edge/loop.go", deliver,
			"\t\tif l.messagesOut++; !d.stored || l.messagesOut%499 != 0 {\n\t\t\tc.sendLocked(f)\n\t\t}\n", "lost",
		},
		"duplicate one": {
			"internal/edge/loop.go", deliver,
			"\t\tl.messagesOut++\n\t\tc.sendLocked(f)\n\t\tif d.stored && l.messagesOut%499 == 0 {\n\t\t\tc.sendLocked(f)\n\t\t}\n", "duplicated",
		},
		"swap two": {
			"internal/edge/outbox.go", "\to.frames = append(o.frames, f)\n",
			"\to.frames = append(o.frames, f)\n\tif n := len(o.frames); n > 2 {\n\t\to.frames[n-1], o.frames[n-2] = o.frames[n-2], o.frames[n-1]\n\t}\n", "reordered",
		},
		"ack before store": {
			"internal/cluster/put.go", "\tif err := s.push(p); err != nil {\n\t\treturn nil, err\n\t}\n\treturn p, nil\n",
			"\tp.done = func(message.Accepted, error) {}\n\tif err := s.push(p); err != nil {\n\t\treturn nil, err\n\t}\n\tdone(message.Accepted{ID: m.ID}, nil)\n\treturn p, nil\n", "accepted without an offset",
		},
		"skip the tenant check": {
			"internal/edge/join.go", "\ttarget, err := address.ChannelTarget(c.principal.Tenant, channel)\n\tif err != nil || !c.loop.hub.opts.Policy.MayJoin(",
			"\tfirst, _ := address.ParseTenantID(\"tenant0\")\n\ttarget, err := address.ChannelTarget(first, channel)\n\tif err != nil || !c.loop.hub.opts.Policy.MayJoin(", "foreign",
		},
		"reset an offset": {
			"internal/edge/form.go", "history.FormatOffset(m.Position.Offset)", "history.FormatOffset(m.Position.Offset % 1024)", "",
		},
	}
}

// TestPlantedBugs builds pushd with one fault in it at a time, and lets the ledger
// find it.
func TestPlantedBugs(t *testing.T) {
	for name, b := range bugs() {
		t.Run(name, func(t *testing.T) {
			ctx := bounded(t, 5*time.Minute)
			s := &scene{
				nodes: startAround(ctx, t, plant(ctx, t, b), kept()...), ledger: delivery.NewLedger(),
				tenants: 2, channels: 2, clients: 4, publishers: 3, messages: 9000,
			}
			t.Log(s.play(ctx, t))
			faults := s.ledger.Faults()
			if len(faults) == 0 {
				t.Fatal("it was not found")
			}
			if !strings.Contains(strings.Join(faults, "\n"), b.want) {
				t.Errorf("found %q, want %q", faults, b.want)
			}
		})
	}
}

// plant builds pushd with b, and returns the binary.
func plant(ctx context.Context, t *testing.T, b bug) string {
	t.Helper()
	path := filepath.Join(suite.root, b.file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), b.before); n != 1 {
		t.Fatalf("%s has the place of the bug %d times: plant it anew", b.file, n)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), b.before, b.after, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	spec, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := harness.Build(ctx, suite.root, dir, "-overlay", file, suite.flag)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}
