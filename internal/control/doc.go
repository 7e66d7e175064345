// Package control serves the Control API: gRPC for the services that push
// messages and for the operators who ask what is connected. Beside the
// commands, it is the only package that knows gRPC.
//
// # Lifetime
//
// [NewServer] makes a Server that starts nothing. [Server.Serve] takes calls
// until [Server.Shutdown], which lets calls in flight finish and waits for
// every goroutine. Until SetServing(true) the health service says NOT_SERVING,
// and it says so whenever the Router is not ready; calls are taken all the
// same.
//
// # Path of a call
//
// Every method of every service is registered through one guard: it checks the
// key before the request is read, turns panics and errors into statuses, and
// counts. A request is then checked in full: all that is wrong with it is
// reported together, and a refused request has reached nobody. What is left is
// one message with its payload in final form, which the Router publishes. OK
// means that NATS has the message and, where it is kept, has stored it.
//
// A Publish stream is one call of which each command takes this path. It ends
// itself at shutdown, after everything that it took is answered.
//
// # Errors
//
// A refusal is a specific code with google.rpc.ErrorInfo, whose reason is from
// the protocol's closed list, google.rpc.BadRequest where fields are at fault
// and google.rpc.RetryInfo where trying again helps. What goes wrong below the
// calls is answered by the gRPC library without details: a malformed path,
// compression, and a request of more than twice the largest payload
// (RESOURCE_EXHAUSTED). Texts never quote a request. Keys, payloads and names
// are never logged.
//
// # Connections
//
// Their number is bounded. For one that is too many the oldest is closed that has
// brought no call with a key; where each has, the new one is, before anything is
// sent. Each is bounded in calls, metadata, pings and age, and in how long it may
// be silent (server.go).
//
// # Slow consumers
//
// A call holds one message until the Router has taken or refused it. A Publish
// stream holds at most 256 commands and, but for the last of them, 8 MiB of
// payload; it is not read while it is at a bound, so a caller who is slow to
// read its answers holds up nobody but itself. When the Router's queue is full,
// calls and commands fail with RESOURCE_EXHAUSTED.
package control
