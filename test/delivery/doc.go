// Package delivery holds a cluster of real nodes to what docs/delivery.md
// promises: clients come and go, resume where they stopped on another node, and
// every message that was accepted reaches every client that has to get it: once,
// in order, with its own offset, or inside a gap that was announced.
//
// [Ledger] is the judge. It is told what publishers were promised and what
// clients saw, and knows nothing of how pushd works. That it can find a fault is
// shown by builds of pushd with one planted in each.
package delivery
