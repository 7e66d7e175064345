package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/aegisx/pushd/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Main(m)) }

// start runs the command and returns the URL that it serves. It is stopped at
// the end of the test.
func start(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, said := io.Pipe()
	var running sync.WaitGroup
	running.Go(func() {
		err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, args...), said, t.Output())
		if err != nil {
			t.Errorf("run: %v", err)
		}
		said.CloseWithError(errors.New("run has ended"))
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("it said %q", line)
	}
	return url
}

func TestEchoes(t *testing.T) {
	for name, c := range map[string]struct {
		args    []string
		deflate bool
	}{
		"default":               {},
		"poll":                  {args: []string{"-driver", "poll"}},
		"goroutine":             {args: []string{"-driver", "goroutine"}},
		"poll, compressed":      {[]string{"-driver", "poll", "-compress"}, true},
		"goroutine, compressed": {[]string{"-driver", "goroutine", "-compress"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			url := start(t, c.args...)
			dialer := ws.Dialer{Extensions: []httphead.Option{httphead.NewOption("permessage-deflate", nil)}}
			nc, _, agreed, err := dialer.Dial(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if deflate := len(agreed.Extensions) == 1; deflate != c.deflate {
				t.Errorf("extensions of the server: %v", agreed.Extensions)
			}
			if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
				if err := wsutil.WriteClientMessage(nc, op, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				got, gotOp, err := wsutil.ReadServerData(nc)
				if err != nil || gotOp != op || string(got) != "hello" {
					t.Errorf("got %v %q, %v", gotOp, got, err)
				}
			}
		})
	}
}

// TestGoodbye: a client that is there at the end is told with 4000.
func TestGoodbye(t *testing.T) {
	end := make(chan error, 1)
	t.Run("serve", func(t *testing.T) {
		nc, _, _, err := ws.Dial(t.Context(), start(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := wsutil.WriteClientText(nc, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := wsutil.ReadServerData(nc); err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the server
			_, _, err := wsutil.ReadServerData(nc)
			end <- errors.Join(err, nc.Close())
		}()
	})
	err := <-end
	var closed wsutil.ClosedError
	if !errors.As(err, &closed) || closed.Code != 4000 {
		t.Errorf("the end was %v", err)
	}
}

func TestRefusesArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-driver", "select"}, "neither poll nor goroutine"},
		{[]string{"more"}, `unexpected argument "more"`},
		{[]string{"-addr", "127.0.0.1:99999"}, "listen"},
		{[]string{"-help"}, flag.ErrHelp.Error()},
	} {
		err := run(t.Context(), c.args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.args, err, c.want)
		}
	}
}
