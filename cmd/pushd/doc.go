// Command pushd pushes messages from services to browsers and apps.
//
// "pushd serve" runs a node; the other subcommands talk to one. serve builds
// its parts in one order, runs them until a signal or a failure, and takes
// them down in the reverse sense: see run.go.
//
// Results go to stdout; logs and what a person should know go to stderr. The
// exit code is 0 for success, 1 for a failure, 2 for a wrong command line or
// configuration.
package main
