// Command bench measures this version of pushd against a bare loop of write(2)
// and prints the ratios that the project has set itself as goals.
//
//	go run ./test/bench [-quick] [-growth] [-run PATTERN] [-json FILE] [-pushd BINARY]
//
//	-quick         one short round with fewer clients, to see that it works
//	-growth        how cost grows with receivers and connections, instead of the goals
//	-run PATTERN   only the rows whose name matches this regular expression
//	-json FILE     all results, each round's figures too, as JSON into FILE
//	-pushd BINARY  this binary, instead of one that is built from the source here
//
// A run that is not done after 10 minutes, or 3 with -quick, ends with what it
// has. "make bench" is the same; ARGS="-quick" and so on adds flags.
//
// It builds pushd, starts a fresh one for every measurement, and lays the same
// load on both in turn, several rounds. What is printed is the median of the
// rounds; CPU is user and system time of the server's process. The load comes
// from the same machine, so the figures mean little outside of their run: read
// the ratios.
//
// Rows that say "stored" leave it to the rules of the node whether messages
// are kept, and those of recoveries read them back; all others forbid it, on a node
// that could. A loop of writes has no commands and no history, so such rows have
// no floor.
//
// The loop is floor/floor.c. Where there is no C compiler, the same loop in Go
// takes its place, which the output says.
package main
