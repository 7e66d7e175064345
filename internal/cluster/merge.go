package cluster

import (
	"cmp"
	"slices"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/stats"
)

// report is what one node answered.
type report struct {
	node  stats.Node
	local stats.Local
}

// merge sums the reports of nodes, of which others are those known besides,
// answered or not.
func merge(q stats.Query, asOf time.Time, reports []report, others []stats.Node) *stats.Cluster {
	c := &stats.Cluster{AsOf: asOf}
	answered := make(map[string]bool, len(reports))
	for _, r := range reports {
		answered[r.node.Name] = true
		c.Nodes = append(c.Nodes, r.node)
		c.Totals.Add(r.local.Totals)
		if c.StartedAt.IsZero() || r.node.StartedAt.Before(c.StartedAt) {
			c.StartedAt = r.node.StartedAt
		}
	}
	for _, n := range others {
		if !answered[n.Name] {
			c.Nodes = append(c.Nodes, n)
			c.Missing = append(c.Missing, n.Name)
		}
	}
	slices.SortFunc(c.Nodes, func(a, b stats.Node) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(c.Missing)
	c.Complete = len(c.Missing) == 0

	tenants, tenantsExact := mergeTenants(reports)
	channels, channelsExact := mergeChannels(reports)
	if q.Tenant.IsZero() && q.Channel.IsZero() {
		// A tenant on two nodes is one tenant.
		if tenantsExact {
			c.Totals.Tenants = uint64(len(tenants))
		}
		if channelsExact {
			c.Totals.Channels = uint64(len(channels))
		}
	}
	most := func(rows int, of func(stats.Local) uint64) uint64 {
		n := uint64(rows) //nolint:gosec // A length is not negative.
		for _, r := range reports {
			n = max(n, of(r.local))
		}
		return n
	}
	allTenants := most(len(tenants), func(l stats.Local) uint64 { return l.TotalTenants })
	allChannels := most(len(channels), func(l stats.Local) uint64 { return l.TotalChannels })
	c.Tenants = tenants[:min(len(tenants), q.Limit)]
	c.Channels = channels[:min(len(channels), q.Limit)]
	c.TruncatedTenants = allTenants - uint64(len(c.Tenants))
	c.TruncatedChannels = allChannels - uint64(len(c.Channels))
	return c
}

// mergeTenants sums the rows. exact is false when a node had more than it sent.
func mergeTenants(reports []report) (rows []stats.Tenant, exact bool) {
	exact = true
	at := make(map[address.TenantID]int)
	for _, r := range reports {
		exact = exact && r.local.TotalTenants <= uint64(len(r.local.Tenants))
		for _, t := range r.local.Tenants {
			n, ok := at[t.ID]
			if !ok {
				at[t.ID] = len(rows)
				rows = append(rows, t)
				continue
			}
			rows[n].Connections += t.Connections
			rows[n].Users += t.Users
			rows[n].Channels += t.Channels
		}
	}
	slices.SortFunc(rows, func(a, b stats.Tenant) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections), cmp.Compare(a.ID.String(), b.ID.String()))
	})
	return rows, exact
}

// mergeChannels sums the rows. exact is false when a node had more than it
// sent.
func mergeChannels(reports []report) (rows []stats.Channel, exact bool) {
	type key struct {
		tenant address.TenantID
		name   address.Channel
	}
	exact = true
	at := make(map[key]int)
	for _, r := range reports {
		exact = exact && r.local.TotalChannels <= uint64(len(r.local.Channels))
		for _, c := range r.local.Channels {
			k := key{c.Tenant, c.Name}
			n, ok := at[k]
			if !ok {
				at[k] = len(rows)
				rows = append(rows, c)
				continue
			}
			rows[n].Connections += c.Connections
		}
	}
	slices.SortFunc(rows, func(a, b stats.Channel) int {
		return cmp.Or(cmp.Compare(b.Connections, a.Connections),
			cmp.Compare(a.Name.String(), b.Name.String()), cmp.Compare(a.Tenant.String(), b.Tenant.String()))
	})
	return rows, exact
}

// own returns a copy that shares nothing that its owner may change.
func own(c *stats.Cluster) *stats.Cluster {
	o := *c
	o.Missing = slices.Clone(c.Missing)
	o.Nodes = slices.Clone(c.Nodes)
	o.Tenants = slices.Clone(c.Tenants)
	o.Channels = slices.Clone(c.Channels)
	return &o
}
