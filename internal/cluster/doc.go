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
// NATS took it, at most once live, the own node included: there is no second way
// past NATS. [Router.Publish] returns when the server has the message;
// [Router.Enqueue] does not wait for that. Messages that one caller publishes
// for one target arrive at every sink in the order of the calls. Nothing is
// promised across targets.
//
// What is stored, and what has a key, takes another way: to a JetStream stream,
// which copies it to the nodes. Its order per target holds as well, but nothing
// is promised between the two ways.
//
// Interest is exact: a node that holds no member of a target gets no copy.
// [Router.Acquire] says when interest is live; a message published anywhere
// after that is received here.
//
// # History
//
// With [Options.History], messages are stored that a rule keeps or whose
// publisher wants it. [Router.Publish] then returns when they are stored, with
// their position: an epoch, and the offset in the one stream that holds all
// targets. Copies come live with the position, and with the offset of the one
// before for the same target, so that a hole shows. [Router.Read] brings what is
// missing and says whether it is sure that nothing else was; [Sink.Doubt] says
// when to look. The epoch changes when the stream was made anew or went
// backwards: old offsets mean nothing then.
//
// A key makes publishing repeatable: within two minutes, and in one tenant, a
// second message with the key is not sent. With the same content it is answered
// as the first one was; other content fails with message.ErrKeyConflict. What is
// stored and what is not are remembered apart: a key is compared only with others
// that went the same way. If the first one was trimmed from the history since,
// only its position is known, and its ID comes back as zero.
//
// When the history does not answer, or is full, publishing to it fails within
// PublishTimeout, and at once while that is known; one message a second tries. It
// may have been stored when no answer came. What is not stored goes on.
//
// # Receipts
//
// A message whose Receipt asks for one makes [Router.Publish] wait until every
// node of the roster has said what became of the message there. Who is silent is
// named, and never counted as a success.
//
// # Loss
//
// What is not stored is delivered at most once. Messages are lost, and counted
// by reason in pushd_cluster_dropped_total, when a queue is full, when an
// envelope does not fit the subject it came on, or when its deadline has passed.
// Copies of what is stored are lost in the same ways, but can be read. While
// NATS is away nothing is kept: publishing fails with message.ErrUnavailable at
// once, and a message that got stuck on the way is dropped by its receivers,
// because every message that is not stored has a deadline. Deadlines compare
// clocks of different nodes, which therefore must agree within seconds.
//
// # Slow consumers
//
// The Sink must not block. If it does, its lane fills, and what does not fit
// is dropped and counted; other lanes don't notice.
package cluster
