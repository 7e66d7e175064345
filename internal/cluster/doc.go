// Package cluster carries messages between the nodes of pushd. It is the only
// package that knows NATS.
//
// # Lifetime
//
// [Start] brings up an embedded NATS server (or dials an external one), joins
// the roster and returns a [Router] that serves until [Router.Close]. All
// goroutines belong to the Router; Close ends them and waits.
//
// # Delivery and order
//
// A published message reaches every node that held interest in its target when
// NATS took it, at most once, the own node included: there is no second way
// past NATS. [Router.Publish] returns when the server has the message;
// [Router.Enqueue] does not wait for that. Messages that one caller publishes
// for one target arrive at every sink in the order of the calls. Nothing is
// promised across targets.
//
// Interest is exact: a node that holds no member of a target gets no copy.
// [Router.Acquire] says when interest is live; a message published anywhere
// after that is received here.
//
// # Receipts
//
// A message whose Receipt asks for one makes [Router.Publish] wait until every
// node of the roster has said what became of the message there. Who is silent is
// named, and never counted as a success.
//
// # Loss
//
// This is at-most-once messaging. Messages are lost, and counted by reason in
// pushd_cluster_dropped_total, when a queue is full, when an envelope does not
// fit the subject it came on, or when its deadline has passed. While NATS is
// away nothing is kept: publishing fails with message.ErrUnavailable at once,
// and a message that got stuck on the way is dropped by its receivers, because
// every message has a deadline. Deadlines compare clocks of different nodes,
// which therefore must agree within seconds.
//
// # Slow consumers
//
// The Sink must not block. If it does, its lane fills, and what does not fit
// is dropped and counted; other lanes don't notice.
package cluster
