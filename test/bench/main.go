package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/aegisx/pushd/test/harness"
)

const (
	// fullLimit and quickLimit bound a run, the builds included.
	fullLimit  = 10 * time.Minute
	quickLimit = 3 * time.Minute
)

// settings are what the command line says.
type settings struct {
	quick bool
	// growth measures how the cost grows, instead of the goals.
	growth bool
	rows   *regexp.Regexp
	json   string
	// pushd is the binary to measure. Empty: it is built.
	pushd string
}

func main() {
	// The Go twin of the C loop is this program under another name.
	if len(os.Args) > 1 && os.Args[1] == floorCommand {
		if err := floorLoop(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "floor:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	s, err := parse(args, errOut)
	if err != nil {
		return err
	}
	limit := fullLimit
	if s.quick {
		limit = quickLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the run took longer than %s", limit))
	defer cancel()
	dir, err := os.MkdirTemp("", "pushd-bench-")
	if err != nil {
		return fmt.Errorf("temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := newStand(ctx, dir, s.pushd)
	if err != nil {
		return err
	}
	sc := fullScale()
	if s.quick {
		sc = quickScale()
	}
	work := rows(sc)
	if s.growth {
		work = growth(sc)
	}
	report, err := measure(ctx, st, sc, matching(work, s.rows), newDisplay(errOut))
	// What was measured before something failed is shown all the same.
	if err := report.print(out); err != nil {
		return err
	}
	if err != nil || s.json == "" {
		return err
	}
	return report.write(s.json)
}

func parse(args []string, errOut io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.BoolVar(&s.quick, "quick", false, "one short round with fewer clients, to see that it works")
	fs.BoolVar(&s.growth, "growth", false, "measure how cost grows with receivers and connections, instead of the goals")
	fs.StringVar(&s.json, "json", "", "file that gets all results as JSON")
	fs.StringVar(&s.pushd, "pushd", "", "binary to measure instead of building this version")
	fs.Func("run", "measure only the rows whose name matches this pattern", func(text string) (err error) {
		s.rows, err = regexp.Compile(text)
		return err //nolint:wrapcheck // flag adds what it is about.
	})
	if err := fs.Parse(args); err != nil {
		return s, err //nolint:wrapcheck // flag has said it already.
	}
	if fs.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	return s, nil
}

// stand is what all measurements need.
type stand struct {
	// dir holds what the processes write.
	dir string
	// binary is the pushd under test.
	binary string
	// floor is the command of the loop, without its arguments.
	floor []string
	// floorKind says what it is written in.
	floorKind string
	// started counts the servers, to name them.
	started int
}

// newStand builds the floor, and pushd unless its binary is given.
func newStand(ctx context.Context, dir, binary string) (_ *stand, err error) {
	st := &stand{dir: dir, binary: binary}
	if binary == "" {
		root, err := harness.Root()
		if err != nil {
			return nil, fmt.Errorf("build: %w", err)
		}
		if st.binary, err = harness.Build(ctx, root, dir, "-trimpath"); err != nil {
			return nil, fmt.Errorf("build: %w", err)
		}
	}
	if st.floor, st.floorKind, err = buildFloor(ctx, filepath.Join(dir, "floor")); err != nil {
		return nil, err
	}
	return st, nil
}
