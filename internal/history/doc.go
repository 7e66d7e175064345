// Package history says which messages are kept, for whom and for how long, and
// what is asked and answered about what is kept. It holds values only: the
// store is in package cluster, the replay in package edge.
package history
