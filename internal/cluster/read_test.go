package cluster_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

func TestReadPages(t *testing.T) {
	onEachStore(t, func(t *testing.T, nodes []*node) {
		target, other := channelOf(t, "acme", "log:pages"), channelOf(t, "other", "log:pages")
		var offsets []uint64
		var want []string
		const count = 300 // More than one question brings.
		for i := range count {
			payload := fmt.Sprintf("%03d", i)
			offsets = append(offsets, nodes[0].store(t, target, payload))
			want = append(want, payload)
			if i%10 == 0 {
				nodes[0].store(t, other, "other")
			}
		}
		n := nodes[len(nodes)-1]
		var got []string
		after, pages := uint64(0), 0
		for {
			p := n.read(t, target, after, 70)
			got = append(got, payloadsOf(p)...)
			if pages++; !p.More {
				break
			}
			if len(p.Messages) != 70 || p.Gap != "" && after != 0 {
				t.Fatalf("a page of %d, gap %q", len(p.Messages), p.Gap)
			}
			after = p.Messages[len(p.Messages)-1].Position.Offset
		}
		if !slices.Equal(got, want) || pages != 5 {
			t.Errorf("%d pages: %q", pages, got)
		}
		all := n.read(t, target, 0, count)
		if all.More || len(all.Messages) != count || all.Epoch == "" {
			t.Errorf("%d messages, more %v", len(all.Messages), all.More)
		}
		for i, m := range all.Messages {
			if m.Position != (message.Position{Epoch: all.Epoch, Offset: offsets[i]}) || m.Previous != 0 || m.Target != target {
				t.Fatalf("message %d: %+v", i, m)
			}
		}
		if p := n.read(t, target, offsets[count-1], 10); len(p.Messages) != 0 || p.More || p.Gap != "" || p.Epoch != all.Epoch {
			t.Errorf("behind the last: %+v", p)
		}

		backward := func(after uint64, limit, bytes int) *history.Page {
			p, err := n.Read(t.Context(), target, history.Query{After: after, Limit: limit, Bytes: bytes, Reverse: true})
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			return p
		}
		if p := backward(0, 3, 1<<20); fmt.Sprint(payloadsOf(p)) != "[299 298 297]" || !p.More {
			t.Errorf("backward: %q, more %v", payloadsOf(p), p.More)
		}
		if p := backward(offsets[2], 10, 1<<20); fmt.Sprint(payloadsOf(p)) != "[001 000]" || p.More {
			t.Errorf("backward to the end: %q, more %v", payloadsOf(p), p.More)
		}
		if p := backward(offsets[0], 10, 1<<20); len(p.Messages) != 0 || p.More || p.Epoch == "" {
			t.Errorf("before the first: %+v", p)
		}
		if p := backward(0, 10, 7); fmt.Sprint(payloadsOf(p)) != "[299 298]" || !p.More {
			t.Errorf("backward by bytes: %q, more %v", payloadsOf(p), p.More)
		}
		if p := backward(offsets[5]+0, 1, 1); fmt.Sprint(payloadsOf(p)) != "[004]" || !p.More {
			t.Errorf("one comes in any case: %q, more %v", payloadsOf(p), p.More)
		}
		empty := channelOf(t, "acme", "log:empty")
		if p := n.read(t, empty, 0, 10); len(p.Messages) != 0 || p.More || p.Epoch == "" {
			t.Errorf("empty: %+v", p)
		}
		if p := n.read(t, empty, math.MaxUint64, 10); len(p.Messages) != 0 || p.More || p.Gap != "" {
			t.Errorf("behind all that can be: %+v", p)
		}
	})
}

// What the servers are asked for is counted.
func TestReadsAreCounted(t *testing.T) {
	n := startStore(t, t.TempDir())
	target := channelOf(t, "acme", "log:counted")
	offset := n.store(t, target, "1")
	const metric = "pushd_cluster_history_reads_total"
	direct, leader := n.count(t, metric, "direct"), n.count(t, metric, "leader")
	n.read(t, target, offset, 10)
	if got := n.count(t, metric, "direct"); got != direct+1 {
		t.Errorf("%v direct reads for one page", got-direct)
	}
	if _, _, err := n.Last(t.Context(), []address.Target{target}); err != nil {
		t.Fatal(err)
	}
	if got := n.count(t, metric, "leader"); got != leader+1 {
		t.Errorf("%v questions to the leader for one target", got-leader)
	}
}

func TestReadIsBoundedInBytes(t *testing.T) {
	n := startStore(t, t.TempDir())
	target := channelOf(t, "acme", "log:bytes")
	for i := range 5 {
		n.store(t, target, strings.Repeat(fmt.Sprint(i), 1000))
	}
	for bytes, want := range map[int]int{1: 1, 1000: 1, 1999: 1, 2000: 2, 4999: 4, 5000: 5} {
		p, err := n.Read(t.Context(), target, history.Query{Limit: 100, Bytes: bytes})
		if err != nil || len(p.Messages) != want || p.More != (want < 5) {
			t.Errorf("%d bytes: %d messages, %v", bytes, len(p.Messages), err)
		}
	}
}

// TestProofOfContinuity: a page says that nothing is missing only where that is
// sure.
func TestProofOfContinuity(t *testing.T) {
	n := startStore(t, t.TempDir())
	few, log, aging := channelOf(t, "acme", "few:1"), channelOf(t, "acme", "log:1"), channelOf(t, "acme", "aging:1")
	_, start := n.last(t, channelOf(t, "acme", "few:none"))
	var offsets []uint64
	for i := range 6 {
		offsets = append(offsets, n.store(t, few, fmt.Sprint(i)))
	}
	foreign := n.store(t, log, "foreign")
	old := n.store(t, aging, "old")
	gone := n.acceptMortal(t, log, "mortal", "").Position.Offset
	after := n.store(t, log, "after")
	n.store(t, few, "6")

	if start[0] != 0 {
		t.Errorf("an empty stream has %d", start[0])
	}
	for _, c := range []struct {
		name   string
		target address.Target
		after  uint64
		want   string
		gap    history.Reason
	}{
		{"there", few, offsets[3], "[4 5 6]", ""},
		{"the last that is kept", few, offsets[2], "[3 4 5 6]", ""},
		{"one too old", few, offsets[1], "[3 4 5 6]", history.ReasonTrimmed},
		{"long trimmed", few, offsets[0], "[3 4 5 6]", history.ReasonTrimmed},
		{"before all", few, 0, "[3 4 5 6]", history.ReasonTrimmed},
		{"of another, as many as are kept behind it: none", few, foreign, "[6]", ""},
		{"between", log, offsets[5], "[foreign after]", ""},
		{"of the beginning", log, 0, "[foreign after]", ""},
		{"of the future", log, after + 100, "[]", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.target == log {
				eventually(t, "the mortal has expired", func() bool { return len(n.read(t, log, 0, 10).Messages) == 2 })
			}
			p := n.read(t, c.target, c.after, 10)
			if got := fmt.Sprint(payloadsOf(p)); got != c.want || p.Gap != c.gap {
				t.Errorf("got %s with gap %q, want %s with %q", got, p.Gap, c.want, c.gap)
			}
		})
	}
	t.Run("at one that had a time to live", func(t *testing.T) {
		p := n.read(t, log, gone, 10)
		if got := fmt.Sprint(payloadsOf(p)); got != "[after]" || p.Gap != "" {
			t.Errorf("got %s with gap %q", got, p.Gap)
		}
	})
	t.Run("expired", func(t *testing.T) {
		eventually(t, "it has aged out", func() bool {
			p := n.read(t, aging, old, 10)
			return len(p.Messages) == 0 && p.Gap == history.ReasonExpired
		})
		eventually(t, "an answer before the new one has aged out", func() bool {
			began := time.Now()
			n.store(t, aging, "new")
			p := n.read(t, aging, old, 10)
			// What nobody can have missed is no gap.
			_, last := n.last(t, aging)
			none := n.read(t, aging, last[0], 10)
			if time.Since(began) > time.Second {
				pass := time.NewTimer(2*time.Second + 100*time.Millisecond) // so that there is one again
				<-pass.C
				return false
			}
			if fmt.Sprint(payloadsOf(p)) != "[new]" || p.Gap != history.ReasonExpired {
				t.Errorf("got %q with gap %q", payloadsOf(p), p.Gap)
			}
			if len(none.Messages) != 0 || none.Gap != "" {
				t.Errorf("got %q with gap %q", payloadsOf(none), none.Gap)
			}
			return true
		})
	})
	t.Run("backward keeps to the rule", func(t *testing.T) {
		for after, want := range map[uint64]string{0: "[6 5 4 3]", offsets[5]: "[4 3]", offsets[3]: "[]", offsets[1]: "[]"} {
			p, err := n.Read(t.Context(), few, history.Query{After: after, Limit: 10, Bytes: 1000, Reverse: true})
			if err != nil || fmt.Sprint(payloadsOf(p)) != want {
				t.Errorf("before %d: %q, %v, want %s", after, payloadsOf(p), err, want)
			}
		}
	})
}

func TestLast(t *testing.T) {
	onEachStore(t, func(t *testing.T, nodes []*node) {
		n := nodes[len(nodes)-1]
		var targets []address.Target
		var want []uint64
		for i := range 40 {
			target := channelOf(t, "acme", fmt.Sprintf("log:%d", i))
			targets = append(targets, target)
			want = append(want, 0)
			if i%2 == 0 {
				nodes[0].store(t, target, "first")
				want[i] = nodes[0].store(t, target, "last")
			}
		}
		reached := want[38]
		for _, count := range []int{1, 4, 40} {
			epoch, got := n.last(t, targets[:count]...)
			if epoch == "" {
				t.Error("no epoch")
			}
			for i := range count {
				// Behind an empty one is what comes next, not what was there.
				if want[i] != 0 && got[i] != want[i] || want[i] == 0 && got[i] > reached {
					t.Errorf("%d targets: number %d is at %d, want %d", count, i, got[i], want[i])
				}
			}
		}
		_, got := n.last(t, targets...)
		for i := 1; i < 40; i += 2 {
			if got[i] != reached {
				t.Errorf("an empty target is at %d, the stream at %d", got[i], reached)
			}
		}
		if next := nodes[0].store(t, targets[1], "first"); next <= got[1] {
			t.Errorf("stored at %d, behind %d", next, got[1])
		}
		if _, got := n.last(t, tenantOf(t, "acme"), targets[1], targets[1]); got[1] != got[2] {
			t.Errorf("got %v", got)
		}
		if epoch, got := n.last(t); epoch == "" || len(got) != 0 {
			t.Errorf("none: %q %v", epoch, got)
		}
	})
}

func TestTimeToLive(t *testing.T) {
	srv := startJetStream(t, server.Options{})
	n := startStoring(t, srv, 1)[0]
	target := channelOf(t, "acme", "log:ttl")
	stream := streamOf(t, srv, "PD1H")
	var offset uint64
	eventually(t, "a look at it before it is gone", func() bool {
		began := time.Now()
		offset = n.acceptMortal(t, target, "mortal", "").Position.Offset
		got := payloadsOf(n.read(t, target, 0, 10))
		if len(got) == 0 && time.Since(began) > time.Second {
			return false
		}
		if len(got) == 0 || got[len(got)-1] != "mortal" {
			t.Errorf("stored %q", got)
		}
		return true
	})
	eventually(t, "the stream has dropped it", func() bool {
		info, err := stream.Info(t.Context())
		return err == nil && info.State.Msgs == 0
	})
	if p := n.read(t, target, 0, 10); len(p.Messages) != 0 {
		t.Errorf("read %q", payloadsOf(p))
	}
	if _, got := n.last(t, target); got[0] != offset {
		t.Errorf("last %d, want %d", got[0], offset)
	}
	late := msg(target, "late")
	late.Deadline = time.Now().Add(-time.Second)
	if _, err := n.Publish(t.Context(), late); err == nil {
		t.Error("a message past its deadline was taken")
	}
}
