package control

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/stats"
)

// Bounds of StatsRequest.top.
const (
	defaultTop = 20
	maxTop     = 1000
)

// Stats implements the RPC.
func (s *service) Stats(ctx context.Context, r *pushdv1.StatsRequest) (*pushdv1.StatsResponse, error) {
	var f fields
	q := statsQuery(&f, r)
	if err := f.err(); err != nil {
		return nil, err
	}
	c, err := s.router.Stats(ctx, q, r.GetFresh())
	if err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	return statsResponse(c), nil
}

func statsQuery(f *fields, r *pushdv1.StatsRequest) stats.Query {
	q := stats.Query{Limit: defaultTop}
	switch top := r.GetTop(); {
	case top > maxTop:
		f.refuse("top", reasonBadRequest, fmt.Sprintf("must be 1 to %d, or 0 for %d", maxTop, defaultTop))
	case top > 0:
		q.Limit = int(top)
	}
	switch {
	case r.GetChannel() != "":
		q.Tenant, q.Channel = f.channel(r.GetTenantId(), r.GetChannel())
	case r.GetTenantId() != "":
		q.Tenant = f.tenant(r.GetTenantId())
	}
	return q
}

func statsResponse(c *stats.Cluster) *pushdv1.StatsResponse {
	out := &pushdv1.StatsResponse{
		AsOf:              timestamp(c.AsOf),
		Complete:          c.Complete,
		MissingNodes:      c.Missing,
		Totals:            statsTotals(c.Totals, c.StartedAt),
		Nodes:             make([]*pushdv1.StatsNode, 0, len(c.Nodes)),
		Tenants:           make([]*pushdv1.StatsTenant, 0, len(c.Tenants)),
		Channels:          make([]*pushdv1.StatsChannel, 0, len(c.Channels)),
		TruncatedTenants:  c.TruncatedTenants,
		TruncatedChannels: c.TruncatedChannels,
	}
	for _, n := range c.Nodes {
		out.Nodes = append(out.Nodes, &pushdv1.StatsNode{
			Name:      n.Name,
			Version:   n.Version,
			StartedAt: timestamp(n.StartedAt),
			State:     nodeState(n.State),
			Totals:    statsTotals(n.Totals, n.StartedAt),

			HistoryRules: historyRules(n.HistoryRules),
		})
	}
	for _, t := range c.Tenants {
		out.Tenants = append(out.Tenants, &pushdv1.StatsTenant{
			TenantId: t.ID.String(), Connections: t.Connections, Users: t.Users, Channels: t.Channels,
		})
	}
	for _, ch := range c.Channels {
		out.Channels = append(out.Channels, &pushdv1.StatsChannel{
			TenantId: ch.Tenant.String(), Channel: ch.Name.String(), Connections: ch.Connections,
		})
	}
	return out
}

func statsTotals(t stats.Totals, startedAt time.Time) *pushdv1.StatsTotals {
	return &pushdv1.StatsTotals{
		Connections: t.Connections,
		Users:       t.Users,
		Tenants:     t.Tenants,
		Channels:    t.Channels,
		MessagesIn:  t.MessagesIn,
		MessagesOut: t.MessagesOut,
		BytesIn:     t.BytesIn,
		BytesOut:    t.BytesOut,
		Dropped:     t.Dropped,
		StartedAt:   timestamp(startedAt),
	}
}

// historyRules returns "" for a node that keeps nothing.
func historyRules(hash uint64) string {
	if hash == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", hash)
}

func nodeState(s stats.State) pushdv1.NodeState {
	switch s {
	case stats.StateReady:
		return pushdv1.NodeState_NODE_STATE_READY
	case stats.StateDraining:
		return pushdv1.NodeState_NODE_STATE_DRAINING
	case stats.StateSuspect:
		return pushdv1.NodeState_NODE_STATE_SUSPECT
	case stats.StateDead:
		return pushdv1.NodeState_NODE_STATE_DEAD
	default:
		return pushdv1.NodeState_NODE_STATE_UNSPECIFIED
	}
}

// timestamp returns nil for a time that is not known.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
