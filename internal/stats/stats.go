// Package stats holds the figures that edges count, nodes exchange and the
// Control API reports. The types are plain values; whoever receives one owns
// it.
package stats

import (
	"time"

	"github.com/aegisx/pushd/internal/address"
)

// Totals counts one node or a cluster. The first four are numbers of now, the
// rest count since the start.
type Totals struct {
	Connections, Users, Tenants, Channels uint64
	MessagesIn, MessagesOut               uint64
	BytesIn, BytesOut                     uint64
	Dropped                               uint64
}

// Add adds o to t.
func (t *Totals) Add(o Totals) {
	t.Connections += o.Connections
	t.Users += o.Users
	t.Tenants += o.Tenants
	t.Channels += o.Channels
	t.MessagesIn += o.MessagesIn
	t.MessagesOut += o.MessagesOut
	t.BytesIn += o.BytesIn
	t.BytesOut += o.BytesOut
	t.Dropped += o.Dropped
}

// Tenant counts one tenant.
type Tenant struct {
	ID                           address.TenantID
	Connections, Users, Channels uint64
}

// Channel counts one channel. Tenant is zero for public channels.
type Channel struct {
	Tenant      address.TenantID
	Name        address.Channel
	Connections uint64
}

// Query selects what a node counts.
type Query struct {
	// Tenant limits the lists to one tenant; zero: all.
	Tenant address.TenantID
	// Channel limits the channel list to one channel; zero: all. With a
	// channel that is not public, Tenant is set.
	Channel address.Channel
	// Limit bounds each list.
	Limit int
}

// Local is what one node counts of itself. The lists are sorted by
// connections, most first, then by name, and hold at most Query.Limit rows.
type Local struct {
	Totals   Totals
	Tenants  []Tenant
	Channels []Channel
	// TotalTenants and TotalChannels count the rows that match the query
	// before Limit cut the lists.
	TotalTenants, TotalChannels uint64
}

// State says how a node stands.
type State uint8

// The states of a node.
const (
	StateReady State = iota + 1
	StateDraining
	StateSuspect
	StateDead
)

// Node is one node of the cluster.
type Node struct {
	Name, Version string
	StartedAt     time.Time
	State         State
	Totals        Totals
	// HistoryRules tells nodes with other rules apart; 0: it keeps nothing.
	HistoryRules uint64
}

// Cluster is the sum over all nodes that answered.
type Cluster struct {
	AsOf     time.Time
	Complete bool
	// Missing names known nodes whose figures are missing, sorted.
	Missing []string
	Totals  Totals
	// StartedAt is the start of the oldest node that answered.
	StartedAt time.Time
	// Nodes holds every known node, sorted by name.
	Nodes []Node
	// Tenants and Channels are sorted as in Local.
	Tenants  []Tenant
	Channels []Channel
	// TruncatedTenants and TruncatedChannels count what the lists leave out.
	TruncatedTenants, TruncatedChannels uint64
}
