// Package registry knows who receives what: which connections of a loop are
// members of a target, and which loops of the node have members at all. It is
// a pure data structure: no goroutines, no sockets.
//
// A [Shard] is one loop's part. It names connections by slot, a small number
// that the loop gives out, and does no locking: the caller holds the loop's
// mutex. The [Directory] is the node's part and may be used concurrently.
//
// Tenants, users and channels are targets of one table, and one code path
// serves all three. Almost nothing here is a pointer: targets become numbers,
// memberships are numbers in flat tables, so a million connections cost the
// garbage collector little. A target with a single member, as most users are,
// has no list of its own.
package registry
