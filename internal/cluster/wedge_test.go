package cluster_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/cluster"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// folderOf returns where a lone node keeps the messages of a stream.
func folderOf(t *testing.T, dir, stream string) string {
	t.Helper()
	var found string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.HasSuffix(path, filepath.Join(stream, "msgs")) {
			found = path
		}
		return err
	})
	if err != nil || found == "" {
		t.Fatalf("folder of %s: %v", stream, err)
	}
	return found
}

// TestWedgedStore: a stream that could not write once takes nothing any more,
// though it could. The node mends that by itself, and nothing stored is lost.
func TestWedgedStore(t *testing.T) {
	dir := t.TempDir()
	rules := storing(t, func(h *cluster.HistoryOptions) { h.StoreDir, h.MaxBytes = dir, 64<<20 })
	n := startNode(t, "n1", func(o *cluster.Options) {
		rules(o)
		o.PublishTimeout = 2 * time.Second
	})
	target, plain := channelOf(t, "acme", "log:1"), channelOf(t, "acme", "plain")
	n.acquire(t, plain)
	first := n.accept(t, msg(target, "first")).Position

	msgs := folderOf(t, dir, "PD1H")
	if err := os.Rename(msgs, msgs+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(msgs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var stored []string
	eventually(t, "the stream takes nothing", func() bool {
		text := fmt.Sprint(len(stored), strings.Repeat("x", 512<<10))
		_, err := n.Publish(t.Context(), msg(target, text))
		if err == nil {
			stored = append(stored, text)
		} else if !errors.Is(err, message.ErrUnavailable) {
			t.Fatalf("publish: %v", err)
		}
		return err != nil
	})
	n.publish(t, plain, "goes on")
	n.sink.awaitPayload(t, "goes on")
	if err := errors.Join(os.Remove(msgs), os.Rename(msgs+".away", msgs)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Publish(t.Context(), msg(target, "still nothing")); !errors.Is(err, message.ErrUnavailable) {
		t.Fatalf("publish: %v", err)
	}
	if got := n.count(t, "pushd_cluster_server_restarts_total", ""); got != 0 {
		t.Fatalf("restarted %v times, too soon", got)
	}

	n.MendAfter(time.Second, time.Hour)
	eventually(t, "stored again", func() bool {
		_, err := n.Publish(t.Context(), keyed(target, "after", "k"))
		return err == nil
	})
	if got := n.count(t, "pushd_cluster_server_restarts_total", ""); got != 1 {
		t.Errorf("restarted %v times", got)
	}
	eventually(t, "live again", func() bool {
		_, err := n.Publish(t.Context(), msg(plain, "live"))
		return err == nil && slices.Contains(n.sink.payloads(), "live")
	})
	p, err := n.Read(t.Context(), target, history.Query{After: first.Offset, Limit: 1000, Bytes: 64 << 20})
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	got := payloadsOf(p)
	if p.Epoch != first.Epoch || p.Gap != "" || len(got) < len(stored)+1 || got[len(got)-1] != "after" {
		t.Errorf("read %d of %d messages, gap %q, epoch %q, was %q", len(got), len(stored)+1, p.Gap, p.Epoch, first.Epoch)
	}
	for i, text := range stored {
		if i < len(got) && got[i] != text {
			t.Errorf("message %d is %.20q", i, got[i])
		}
	}
}
