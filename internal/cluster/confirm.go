package cluster

import (
	"context"

	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/stats"
)

// confirm asks the other nodes to answer a question that travels behind the
// subscriptions made so far, and reports whether all that are known to live
// did. A server passes on what it gets over one connection in order, so an
// answer proves that the server of who answered knows the subscriptions, however
// busy the machines are. False proves nothing: there may be nobody to ask.
func (g *gatherer) confirm(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, g.confirmTimeout)
	defer cancel()
	_, all := g.ask(ctx, subjectConfirm, &clusterv1.StatsQuery{}, g.roster.view())
	return all
}

// confirm answers another node's confirm. It reports false for what no node
// asks.
func (t *talk) confirm(data []byte) bool {
	var w clusterv1.StatsQuery
	if proto.Unmarshal(data, &w) != nil {
		return false
	}
	node, _, ok := parseReplySubject(w.GetReplyTo())
	if !ok {
		return false
	}
	if node == t.self.node {
		return true
	}
	hb := t.self.beat(clusterv1.State(t.state.Load()), stats.Totals{})
	answer, err := proto.Marshal(&clusterv1.StatsReport{Node: hb})
	if err == nil {
		err = t.out.publish(w.GetReplyTo(), answer)
	}
	if err != nil {
		t.log.Warn("interest of another node was not confirmed", "error", err)
	}
	return true
}
