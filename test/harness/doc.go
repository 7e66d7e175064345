// Package harness runs the real pushd binary for tests and benchmarks, and
// talks to it as its users do: over WebSocket, gRPC and HTTP.
//
// A [Node] is a process that the harness started; whoever started it calls
// Stop, which ends it by its process id. A [NATS] is what nodes may meet at; it
// runs in the process of the test, and [FreeAddrs] are for either. Nothing here
// needs a testing.T.
package harness
