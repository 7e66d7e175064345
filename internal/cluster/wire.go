package cluster

import (
	"time"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/stats"
)

// maxVersion bounds the version text of a node, in bytes.
const maxVersion = 256

// beat makes the own heartbeat.
func (id identity) beat(state clusterv1.State, t stats.Totals) *clusterv1.Heartbeat {
	return &clusterv1.Heartbeat{
		Node:        id.node,
		Incarnation: id.incarnation,
		Version:     id.version,
		StartedAt:   id.started.UnixMilli(),
		State:       state,
		Totals: &clusterv1.Totals{
			Connections: t.Connections, Users: t.Users, Tenants: t.Tenants, Channels: t.Channels,
			MessagesIn: t.MessagesIn, MessagesOut: t.MessagesOut,
			BytesIn: t.BytesIn, BytesOut: t.BytesOut,
			Dropped: t.Dropped,
		},
		HistoryRules: id.historyRules,
		HistoryNode:  id.historyNode,
	}
}

func wireNode(hb *clusterv1.Heartbeat) stats.Node {
	state := stats.StateReady
	if hb.GetState() == clusterv1.State_STATE_DRAINING {
		state = stats.StateDraining
	}
	t := hb.GetTotals()
	return stats.Node{
		Name:      hb.GetNode(),
		Version:   hb.GetVersion(),
		StartedAt: time.UnixMilli(hb.GetStartedAt()),
		State:     state,
		Totals: stats.Totals{
			Connections: t.GetConnections(), Users: t.GetUsers(), Tenants: t.GetTenants(), Channels: t.GetChannels(),
			MessagesIn: t.GetMessagesIn(), MessagesOut: t.GetMessagesOut(),
			BytesIn: t.GetBytesIn(), BytesOut: t.GetBytesOut(),
			Dropped: t.GetDropped(),
		},
		HistoryRules: hb.GetHistoryRules(),
	}
}

func wireQuery(q stats.Query) *clusterv1.StatsQuery {
	return &clusterv1.StatsQuery{
		TenantId: q.Tenant.String(),
		Channel:  q.Channel.String(),
		Limit:    uint32(q.Limit), //nolint:gosec // maxAsk bounds it.
	}
}

// parseQuery reads a StatsQuery. ok is false for a query that no node sends.
func parseQuery(w *clusterv1.StatsQuery) (q stats.Query, ok bool) {
	if _, _, ok = parseReplySubject(w.GetReplyTo()); !ok {
		return stats.Query{}, false
	}
	var err error
	if w.GetTenantId() != "" {
		if q.Tenant, err = address.ParseTenantID(w.GetTenantId()); err != nil {
			return stats.Query{}, false
		}
	}
	if w.GetChannel() != "" {
		if q.Channel, err = address.ParseChannel(w.GetChannel()); err != nil {
			return stats.Query{}, false
		}
	}
	q.Limit = int(min(max(w.GetLimit(), 1), maxAsk))
	return q, true
}

func wireReport(hb *clusterv1.Heartbeat, l stats.Local) *clusterv1.StatsReport {
	w := &clusterv1.StatsReport{Node: hb, TotalTenants: l.TotalTenants, TotalChannels: l.TotalChannels}
	for _, t := range l.Tenants {
		w.Tenants = append(w.Tenants, &clusterv1.TenantCount{
			TenantId: t.ID.String(), Connections: t.Connections, Users: t.Users, Channels: t.Channels,
		})
	}
	for _, c := range l.Channels {
		w.Channels = append(w.Channels, &clusterv1.ChannelCount{
			TenantId: c.Tenant.String(), Channel: c.Name.String(), Connections: c.Connections,
		})
	}
	return w
}

// parseReport reads what wireReport wrote; rows with bad names are left out.
func parseReport(w *clusterv1.StatsReport) report {
	r := report{node: wireNode(w.GetNode())}
	r.local.Totals = r.node.Totals
	r.local.TotalTenants, r.local.TotalChannels = w.GetTotalTenants(), w.GetTotalChannels()
	for _, t := range w.GetTenants() {
		id, err := address.ParseTenantID(t.GetTenantId())
		if err != nil {
			continue
		}
		r.local.Tenants = append(r.local.Tenants, stats.Tenant{
			ID: id, Connections: t.GetConnections(), Users: t.GetUsers(), Channels: t.GetChannels(),
		})
	}
	for _, c := range w.GetChannels() {
		row, ok := parseChannelRow(c)
		if ok {
			r.local.Channels = append(r.local.Channels, row)
		}
	}
	return r
}

func parseChannelRow(c *clusterv1.ChannelCount) (stats.Channel, bool) {
	name, err := address.ParseChannel(c.GetChannel())
	if err != nil {
		return stats.Channel{}, false
	}
	row := stats.Channel{Name: name, Connections: c.GetConnections()}
	if c.GetTenantId() == "" {
		return row, name.IsPublic()
	}
	row.Tenant, err = address.ParseTenantID(c.GetTenantId())
	return row, err == nil
}
