package cluster

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/aegisx/pushd/internal/history"
)

// DefaultHistoryBytes is what a history takes where nothing else is said.
const DefaultHistoryBytes = 1 << 30

// minHistoryBytes is the least room of a history.
const minHistoryBytes = 1 << 20

// maxReplicas is the most that NATS takes.
const maxReplicas = 5

// HistoryOptions says what is kept, and where. A lone node keeps it in its own
// directory, a mesh on the three nodes that have Node set, and an external NATS
// wherever that keeps its streams.
type HistoryOptions struct {
	// Rules should be the same on all nodes.
	Rules history.Rules
	// StoreDir is made where it is missing, and used by one process at a time.
	// Lone and mesh nodes have subdirectories of their own. It is not used in a
	// mesh without Node, and with an external NATS.
	StoreDir string
	// MaxBytes bounds the disk that the history takes. 0: DefaultHistoryBytes.
	MaxBytes int64
	// Node makes a node of a mesh store the history. Exactly three must, each
	// under the same name for ever.
	Node bool
	// Sync writes each message through to the disk before it counts as stored.
	Sync bool
	// Replicas is how many servers of an external NATS keep each message, 1 to 5.
	// 0: 1. Elsewhere it is given: 1 of a lone node, 3 of a mesh.
	Replicas int
}

func (h *HistoryOptions) maxBytes() int64 { return cmp.Or(h.MaxBytes, DefaultHistoryBytes) }

// stores reports whether this node itself keeps a history on disk.
func (o Options) stores() bool {
	return o.History != nil && (o.alone() || o.mesh() && o.History.Node)
}

func (o Options) validateHistory() error {
	h := o.History
	switch {
	case h == nil:
		return nil
	case h.MaxBytes < 0 || h.MaxBytes > 0 && h.MaxBytes < minHistoryBytes:
		return fmt.Errorf("the size of the history, %d bytes, is under 1 MiB", h.MaxBytes)
	case h.Replicas < 0 || h.Replicas > maxReplicas:
		return fmt.Errorf("the history can have 1 to %d replicas, not %d", maxReplicas, h.Replicas)
	case h.Node && o.alone():
		return errors.New("a lone node is its own history node: only nodes of a mesh are made history nodes")
	case h.Node && !o.mesh():
		return errors.New("an external NATS keeps the history itself: only nodes of a mesh are made history nodes")
	case h.Node && len(o.Peers) == 0:
		return errors.New("a history node needs the other two as peers")
	case o.stores() && h.StoreDir == "":
		return errors.New("the history needs a directory")
	}
	return nil
}
