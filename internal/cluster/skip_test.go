package cluster_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/aegisx/pushd/internal/history"
)

// TestReadSkips: what there is no use for is not read, neither what the stream
// keeps and the rule does not, nor what the caller would throw away.
func TestReadSkips(t *testing.T) {
	const count = 950
	const metric = "pushd_cluster_history_reads_total"
	onEachStore(t, func(t *testing.T, nodes []*node) {
		few, log, other := channelOf(t, "acme", "few:skip"), channelOf(t, "acme", "log:skip"), channelOf(t, "acme", "log:other")
		var offsets []uint64
		for i := range count {
			nodes[0].store(t, few, fmt.Sprint(i))
			offsets = append(offsets, nodes[0].store(t, log, fmt.Sprint(i)))
			for range i / 300 { // They come less and less evenly.
				nodes[0].store(t, other, "other")
			}
		}
		n := nodes[len(nodes)-1]
		before := n.count(t, metric, "direct")
		p := n.read(t, few, 0, 10)
		if got := fmt.Sprint(payloadsOf(p)); got != "[946 947 948 949]" || p.Gap != history.ReasonTrimmed || p.More {
			t.Errorf("by the rule: %s, gap %q, more %v", got, p.Gap, p.More)
		}
		if asked := n.count(t, metric, "direct") - before; asked > 40 {
			t.Errorf("%v questions for 4 of %d messages", asked, count)
		}

		q := history.Query{After: offsets[2], Limit: 256, Bytes: 1 << 20, Newest: 100}
		before = n.count(t, metric, "direct")
		var got []string
		for more := true; more; {
			p, err := n.Read(t.Context(), log, q)
			if err != nil {
				t.Fatal(err)
			}
			if want := history.ReasonOverflow; q.After == offsets[2] && p.Gap != want || q.After != offsets[2] && p.Gap != "" {
				t.Errorf("gap %q after %d", p.Gap, q.After)
			}
			got = append(got, payloadsOf(p)...)
			more = p.More
			q.After = p.Messages[len(p.Messages)-1].Position.Offset
		}
		var all []string
		for i := range count {
			all = append(all, fmt.Sprint(i))
		}
		if len(got) < 100 || len(got) > 700 || !slices.Equal(got, all[count-len(got):]) {
			t.Errorf("%d messages, %q", len(got), got)
		}
		if asked := n.count(t, metric, "direct") - before; asked > 20 {
			t.Errorf("%v questions for the newest", asked)
		}

		// Not much is behind: nothing is skipped.
		q.After = offsets[count-300]
		if p, err := n.Read(t.Context(), log, q); err != nil || p.Gap != "" || len(p.Messages) != 256 {
			t.Errorf("%v, gap %q, %d messages", err, p.Gap, len(p.Messages))
		}
	})
}
