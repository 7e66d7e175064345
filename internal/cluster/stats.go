package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/stats"
)

const (
	// gatherTimeout bounds the wait for the other nodes.
	gatherTimeout = 500 * time.Millisecond
	// cacheFor is how old an answer that need not be fresh may be.
	cacheFor = time.Second
	// cacheMost bounds the number of cached answers.
	cacheMost = 256

	// maxLimit bounds Query.Limit.
	maxLimit = 1000
	// Nodes are asked for more rows than the caller wants, since what is
	// small on each node may be large in sum.
	askTimes, minAsk = 4, 1000
	maxAsk           = askTimes * maxLimit
)

// gatherer asks all nodes for their figures.
type gatherer struct {
	// Set once.
	self           identity
	confirmTimeout time.Duration
	out            outlet
	sink           Sink
	roster         *roster
	live           *atomic.Bool
	state          func() stats.State

	// Guarded by mu.
	mu sync.Mutex
	// next is even: see receiptID.
	next uint64
	// calls get the reports for the questions that are open.
	calls   map[uint64]chan report
	flights map[stats.Query]*flight
	closed  bool
	running sync.WaitGroup
}

// flight is one gathering, under way or done.
type flight struct {
	done   chan struct{}
	began  time.Time
	result *stats.Cluster // set before done is closed
}

// stats answers q. See Router.Stats.
func (g *gatherer) stats(ctx context.Context, q stats.Query, fresh bool) (*stats.Cluster, error) {
	q.Limit = min(max(q.Limit, 1), maxLimit)
	f := g.board(q, fresh)
	select {
	case <-f.done:
		return own(f.result), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("stats: %w", ctx.Err())
	}
}

// board returns a flight to wait for: one that others began, unless fresh.
func (g *gatherer) board(q stats.Query, fresh bool) *flight {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if f := g.flights[q]; f != nil && !fresh && now.Sub(f.began) < cacheFor {
		return f
	}
	f := &flight{done: make(chan struct{}), began: now}
	for k, old := range g.flights {
		if now.Sub(old.began) >= cacheFor {
			delete(g.flights, k)
		}
	}
	if len(g.flights) < cacheMost {
		g.flights[q] = f
	}
	if g.closed {
		f.result = &stats.Cluster{AsOf: now}
		close(f.done)
		return f
	}
	// Others may wait for it too, so it does not end with the first caller.
	// close waits for it.
	g.running.Go(func() {
		f.result = g.gather(q)
		close(f.done)
	})
	return f
}

// close waits for what is under way; later calls get nothing.
func (g *gatherer) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.running.Wait()
}

// gather counts this node and asks the others.
func (g *gatherer) gather(q stats.Query) *stats.Cluster {
	ask := q
	ask.Limit = min(max(q.Limit*askTimes, minAsk), maxAsk)
	others := g.roster.view()
	reports := g.collect(ask, others)
	local := g.sink.Local(ask)
	reports = append(reports, report{
		node: stats.Node{
			Name: g.self.node, Version: g.self.version, StartedAt: g.self.started,
			State: g.state(), Totals: local.Totals, HistoryRules: g.self.historyRules,
		},
		local: local,
	})
	c := merge(q, time.Now(), reports, others)
	c.Complete = c.Complete && g.live.Load()
	return c
}

// collect returns the reports that came in time, at most one per node.
func (g *gatherer) collect(ask stats.Query, others []stats.Node) []report {
	if !g.live.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), gatherTimeout)
	defer cancel()
	reports, _ := g.ask(ctx, subjectStats, wireQuery(ask), others)
	return reports
}

// ask puts a question to the nodes and returns the reports that came before ctx
// ended, at most one per node. all says that every one of others that should
// answer did; there must be one.
func (g *gatherer) ask(
	ctx context.Context, subject string, q *clusterv1.StatsQuery, others []stats.Node,
) (reports []report, all bool) {
	waiting := make(map[string]bool)
	for _, n := range others {
		if answers(n.State) {
			waiting[n.Name] = true
		}
	}
	if len(waiting) == 0 {
		return nil, false
	}
	id, replies := g.open(len(others))
	defer g.hangUp(id)
	q.ReplyTo = replySubject(g.self.node, id)
	data, err := proto.Marshal(q)
	if err != nil || g.out.publish(subject, data) != nil {
		return nil, false
	}
	seen := make(map[string]bool)
	for len(waiting) > 0 {
		select {
		case r := <-replies:
			if seen[r.node.Name] {
				continue
			}
			seen[r.node.Name] = true
			delete(waiting, r.node.Name)
			reports = append(reports, r)
		case <-ctx.Done():
			return reports, false
		}
	}
	return reports, true
}

// open begins a question.
func (g *gatherer) open(nodes int) (id uint64, replies chan report) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next += 2
	// Room for a node that joins meanwhile.
	replies = make(chan report, nodes+16)
	g.calls[g.next] = replies
	return g.next, replies
}

func (g *gatherer) hangUp(id uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, id)
}

// take hands a report to its question. A late one is no fault.
func (g *gatherer) take(id uint64, data []byte) bool {
	g.mu.Lock()
	replies := g.calls[id]
	g.mu.Unlock()
	if replies == nil {
		return true
	}
	var w clusterv1.StatsReport
	if proto.Unmarshal(data, &w) != nil || !validNodeName(w.GetNode().GetNode()) {
		return false
	}
	select {
	case replies <- parseReport(&w):
	default:
	}
	return true
}
