package cluster

import (
	"cmp"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/stats"
)

const (
	// suspectAfter and deadAfter count heartbeats that did not come.
	suspectAfter = 3
	deadAfter    = 5
	// forgetAfter is how long a dead node is named as missing.
	forgetAfter = 10 * time.Minute
)

// roster knows the other nodes by their heartbeats. Age decides how a node
// stands, at the time of asking; no timer is needed.
type roster struct {
	// Set once.
	self     identity
	interval time.Duration
	now      func() time.Time
	log      *slog.Logger
	metrics  *metrics

	// Guarded by mu.
	mu    sync.Mutex
	peers map[string]*peer
	// twins holds incarnations that were reported as duplicates.
	twins map[uint64]struct{}
	// named says that one of them has the own name.
	named bool
	// rules holds other history rules that were reported.
	rules map[uint64]struct{}
	// metHistory says that there was a history node.
	metHistory bool
}

// peer is another node as it was last heard.
type peer struct {
	incarnation uint64
	seen        time.Time
	node        stats.Node
	historyNode bool
}

func newRoster(self identity, o Options, m *metrics, log *slog.Logger) *roster {
	return &roster{
		self:     self,
		interval: o.HeartbeatInterval,
		now:      time.Now,
		log:      log,
		metrics:  m,
		peers:    make(map[string]*peer),
		twins:    make(map[uint64]struct{}),
		rules:    make(map[uint64]struct{}),
	}
}

// hear notes a heartbeat. It reports false if that is not a valid one.
func (r *roster) hear(hb *clusterv1.Heartbeat) bool {
	if !validNodeName(hb.GetNode()) || len(hb.GetVersion()) > maxVersion {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if hb.GetNode() == r.self.node {
		if hb.GetIncarnation() != r.self.incarnation && hb.GetState() != clusterv1.State_STATE_BYE {
			r.twinLocked(hb.GetNode(), hb.GetIncarnation())
		}
		return true
	}
	known := r.peers[hb.GetNode()]
	if known != nil && known.incarnation != hb.GetIncarnation() {
		if hb.GetState() == clusterv1.State_STATE_BYE {
			return true
		}
		// A node that has come back is newer than its last run. If the older
		// one goes on beating, there are two.
		if hb.GetStartedAt() < known.node.StartedAt.UnixMilli() {
			r.twinLocked(hb.GetNode(), hb.GetIncarnation())
			return true
		}
	}
	if hb.GetState() == clusterv1.State_STATE_BYE {
		delete(r.peers, hb.GetNode())
		return true
	}
	if known == nil && len(r.peers) >= maxPeers {
		if r.forgetLocked(deadAfter * r.interval); len(r.peers) >= maxPeers {
			return false
		}
	}
	r.peers[hb.GetNode()] = &peer{
		incarnation: hb.GetIncarnation(), seen: r.now(), node: wireNode(hb), historyNode: hb.GetHistoryNode(),
	}
	r.metHistory = r.metHistory || hb.GetHistoryNode()
	r.compareRulesLocked(hb)
	return true
}

// maxRules bounds the memory for other history rules.
const maxRules = 64

// compareRulesLocked tells of rules that are not the own, once of each.
func (r *roster) compareRulesLocked(hb *clusterv1.Heartbeat) {
	hash := hb.GetHistoryRules()
	if _, told := r.rules[hash]; hash == r.self.historyRules || told || len(r.rules) >= maxRules {
		return
	}
	r.rules[hash] = struct{}{}
	r.log.Warn("nodes have different history rules: give all the same", "other_node", hb.GetNode())
}

// historyNodes counts the other nodes that store the history of the mesh, also
// those that are down but not forgotten. met says that there ever was one.
func (r *roster) historyNodes() (n int, met bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked(forgetAfter)
	for _, p := range r.peers {
		if p.historyNode {
			n++
		}
	}
	return n, r.metHistory
}

// maxPeers bounds the nodes that are known. When it is reached, the dead are
// forgotten early.
const maxPeers = 4096

// forgetLocked drops the nodes that were not heard for so long.
func (r *roster) forgetLocked(age time.Duration) {
	now := r.now()
	maps.DeleteFunc(r.peers, func(_ string, p *peer) bool { return now.Sub(p.seen) > age })
}

// maxTwins bounds the memory for duplicates.
const maxTwins = 1024

func (r *roster) twinLocked(node string, incarnation uint64) {
	r.metrics.duplicateNodes.Inc()
	r.named = r.named || node == r.self.node
	if _, told := r.twins[incarnation]; told || len(r.twins) >= maxTwins {
		return
	}
	r.twins[incarnation] = struct{}{}
	r.log.Error("two nodes have the same name: rename one", "node", node, "other_incarnation", incarnation)
}

// refused notes that the embedded server met one with the own name.
func (r *roster) refused() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.twinLocked(r.self.node, 0)
}

// namesake reports whether another live node had the own name.
func (r *roster) namesake() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.named
}

// view returns the other nodes as they stand now, sorted by name.
func (r *roster) view() []stats.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.forgetLocked(forgetAfter)
	nodes := make([]stats.Node, 0, len(r.peers))
	for _, p := range r.peers {
		n := p.node
		switch age := now.Sub(p.seen); {
		case age > deadAfter*r.interval:
			n.State = stats.StateDead
		case age > suspectAfter*r.interval:
			n.State = stats.StateSuspect
		}
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b stats.Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}

// member is another node, as a receipt needs to know it.
type member struct {
	incarnation uint64
	// answers says that the node is there to answer, dead that it is not and will
	// not be.
	answers, dead bool
}

// census returns the other nodes by name.
func (r *roster) census() map[string]member {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.forgetLocked(forgetAfter)
	all := make(map[string]member, len(r.peers))
	for name, p := range r.peers {
		age := now.Sub(p.seen)
		all[name] = member{
			incarnation: p.incarnation,
			answers:     age <= suspectAfter*r.interval,
			dead:        age > deadAfter*r.interval,
		}
	}
	return all
}

// knows reports whether this run of a node is in the roster.
func (r *roster) knows(node string, incarnation uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[node]
	return p != nil && p.incarnation == incarnation
}

// answers reports whether a node in state s is there to answer.
func answers(s stats.State) bool { return s == stats.StateReady || s == stats.StateDraining }
