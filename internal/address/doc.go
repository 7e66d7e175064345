// Package address holds the validated names of pushd: tenants, users,
// channels, channel patterns, and the targets of messages.
//
// Names from outside are parsed here once. Only the types of this package can
// build a NATS subject or an index key, so a name that was not parsed can
// reach nobody: tenant isolation is an invariant of these types.
//
// All values are immutable, comparable with == and safe for concurrent use.
package address
