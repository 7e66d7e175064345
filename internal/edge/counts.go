package edge

import (
	"cmp"
	"maps"
	"slices"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/stats"
)

// Totals counts this node.
func (h *Hub) Totals() stats.Totals {
	tenants, users, channels := h.directory.Counts()
	t := stats.Totals{
		Connections: uint64(max(0, h.connections.Load())),
		Users:       uint64(users),    //nolint:gosec // A count is not negative.
		Tenants:     uint64(tenants),  //nolint:gosec // A count is not negative.
		Channels:    uint64(channels), //nolint:gosec // A count is not negative.
		Dropped:     h.feeds.late.Load(),
	}
	for _, l := range h.loops {
		l.mu.Lock()
		t.MessagesIn += l.messagesIn
		t.MessagesOut += l.messagesOut
		t.BytesIn += l.bytesIn
		t.BytesOut += l.bytesOut
		t.Dropped += l.dropped
		l.mu.Unlock()
		l.inboxMu.Lock()
		t.Dropped += l.inboxDropped
		l.inboxMu.Unlock()
	}
	return t
}

// tally collects the rows of one query over all loops.
type tally struct {
	query   stats.Query
	tenants map[address.TenantID]*stats.Tenant
	// channels holds every channel that was seen, asked for or not: a tenant's
	// channel on several loops counts once.
	channels map[address.Target]uint64
}

// Local counts this node's tenants and channels as q asks. It holds each
// loop's mutex while it looks at that loop's topics.
func (h *Hub) Local(q stats.Query) stats.Local {
	t := tally{
		query:    q,
		tenants:  make(map[address.TenantID]*stats.Tenant),
		channels: make(map[address.Target]uint64),
	}
	for _, l := range h.loops {
		l.mu.Lock()
		l.shard.Topics(t.add)
		l.mu.Unlock()
	}
	out := stats.Local{Totals: h.Totals()}
	out.Tenants, out.TotalTenants = t.topTenants()
	out.Channels, out.TotalChannels = t.topChannels()
	return out
}

// add counts one topic of one loop.
func (t *tally) add(topic address.Target, members int) {
	tenant := topic.Tenant()
	if !t.query.Tenant.IsZero() && tenant != t.query.Tenant {
		// A public channel that was asked for by name has no tenant.
		if !topic.Channel().IsPublic() || topic.Channel() != t.query.Channel {
			return
		}
	}
	switch topic.Kind() {
	case address.KindTenant:
		t.row(tenant).Connections += uint64(members) //nolint:gosec // A count is not negative.
	case address.KindUser:
		t.row(tenant).Users++ // a user's connections share one loop
	case address.KindChannel:
		t.addChannel(topic, members)
	}
}

func (t *tally) addChannel(topic address.Target, members int) {
	if !topic.Tenant().IsZero() && t.channels[topic] == 0 {
		t.row(topic.Tenant()).Channels++
	}
	t.channels[topic] += uint64(members) //nolint:gosec // A count is not negative.
}

func (t *tally) row(id address.TenantID) *stats.Tenant {
	row := t.tenants[id]
	if row == nil {
		row = &stats.Tenant{ID: id}
		t.tenants[id] = row
	}
	return row
}

func (t *tally) topTenants() ([]stats.Tenant, uint64) {
	rows := make([]stats.Tenant, 0, len(t.tenants))
	for _, row := range t.tenants {
		rows = append(rows, *row)
	}
	slices.SortFunc(rows, func(a, b stats.Tenant) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return rows[:min(len(rows), max(0, t.query.Limit))], uint64(len(rows))
}

func (t *tally) topChannels() ([]stats.Channel, uint64) {
	rows := make([]stats.Channel, 0, len(t.channels))
	for topic, members := range maps.All(t.channels) {
		if !t.query.Channel.IsZero() && t.query.Channel != topic.Channel() {
			continue
		}
		rows = append(rows, stats.Channel{Tenant: topic.Tenant(), Name: topic.Channel(), Connections: members})
	}
	slices.SortFunc(rows, func(a, b stats.Channel) int {
		return cmp.Or(
			cmp.Compare(b.Connections, a.Connections),
			cmp.Compare(a.Tenant.String(), b.Tenant.String()),
			cmp.Compare(a.Name.String(), b.Name.String()),
		)
	})
	return rows[:min(len(rows), max(0, t.query.Limit))], uint64(len(rows))
}
