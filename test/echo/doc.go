// Command echo is a WebSocket server for outside judges of the wire, such as
// conformance suites: it sends text and binary messages back through the very
// handshake, sockets, frames, queues and closing of pushd.
//
//	go run ./test/echo -addr HOST:PORT [-driver poll|goroutine] [-compress]
//
// It serves /ws, wants no token, bounds no rate, and takes messages of up to
// 64 MiB. It ends with SIGINT or SIGTERM.
package main
