package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// running is a command line that goes on until it is stopped.
type running struct {
	lines  chan string // of stdout, closed at its end
	errs   chan string // of stderr, likewise
	stop   context.CancelFunc
	result chan result // one
}

// startCommand runs a command line in the background.
func startCommand(t *testing.T, env variables, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{lines: make(chan string, 1000), errs: make(chan string, 1000), stop: cancel, result: make(chan result, 1)}
	var wg sync.WaitGroup
	pipe := func(lines chan<- string) io.WriteCloser {
		reader, writer := io.Pipe()
		wg.Go(func() {
			defer close(lines)
			for s := bufio.NewScanner(reader); s.Scan(); {
				lines <- s.Text()
			}
		})
		return writer
	}
	out, errOut := pipe(r.lines), pipe(r.errs)
	wg.Go(func() {
		var said strings.Builder
		code := execute(ctx, args, env.lookup, strings.NewReader(""), out, io.MultiWriter(&said, errOut))
		_, _ = out.Close(), errOut.Close()
		r.result <- result{code: code, err: said.String()}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return r
}

// await returns the next line of stdout that holds text.
func (r *running) await(t *testing.T, text string) string {
	t.Helper()
	return r.awaitIn(t, r.lines, text)
}

// awaitIn returns the next line that holds text.
func (r *running) awaitIn(t *testing.T, lines <-chan string, text string) string {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				end := <-r.result
				t.Fatalf("ended with %+v before %q", end, text)
			}
			if strings.Contains(line, text) {
				return line
			}
		case <-timeout:
			t.Fatalf("no line with %q", text)
		}
	}
}

// end waits for the command to end.
func (r *running) end(t *testing.T) result {
	t.Helper()
	select {
	case end := <-r.result:
		return end
	case <-time.After(patience):
		t.Fatal("the command does not end")
		return result{}
	}
}

// startNode serves on free ports.
func startNode(t *testing.T, args ...string) (*running, bound, string) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready.json")
	r := startCommand(t, variables{"PUSHD_JWT_SECRET": testSecret, "PUSHD_READY_FILE": ready}, append([]string{
		"serve", "--dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0",
		"--node-name", "one", "--drain-window", "100ms",
	}, args...)...)
	r.await(t, "  limits ")
	return r, readBound(t, ready), ready
}

func readBound(t *testing.T, path string) bound {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bound
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	return b
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// mustRun executes a command line that has to succeed.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	r := runCommand(t, `{"from":"stdin"}`, nil, args...)
	if r.code != exitOK {
		t.Fatalf("%q: code %d: %s", args, r.code, r.err)
	}
	return r.out
}

func TestServe(t *testing.T) {
	node, at, ready := startNode(t)
	if at.Node != "one" || at.PID != os.Getpid() || at.Cluster != "" {
		t.Errorf("ready file says %+v", at)
	}
	t.Run("http", func(t *testing.T) {
		for url, want := range map[string]string{
			"http://" + at.HTTP + "/healthz":    "ok\n",
			"http://" + at.HTTP + "/readyz":     "ready\n",
			"http://" + at.Metrics + "/readyz":  "ready\n",
			"http://" + at.HTTP + "/demo/":      "<!doctype html>",
			"http://" + at.Metrics + "/metrics": "pushd_build_info",
		} {
			if code, text := fetch(t, url); code != http.StatusOK || !strings.Contains(text, want) {
				t.Errorf("%s: got %d %q", url, code, text)
			}
		}
		if code, _ := fetch(t, "http://"+at.HTTP+"/nothing"); code != http.StatusNotFound {
			t.Errorf("/nothing: got %d", code)
		}
	})
	t.Run("health", func(t *testing.T) {
		out := mustRun(t, "health", "--server", at.GRPC, "--http", "http://"+at.HTTP)
		if out != fmt.Sprintf("grpc %s serving\nhttp http://%s ready\n", at.GRPC, at.HTTP) {
			t.Errorf("got %q", out)
		}
	})
	t.Run("demo token", func(t *testing.T) { testDemoToken(t, at) })
	tail := startCommand(t, variables{"PUSHD_TOKEN": newToken(t, "--tenant", "acme", "--user", "ann")},
		"tail", "--url", "ws://"+at.HTTP+"/ws", "--join", "tenant:acme:general", "--notifications", "orders", "--output", "json")
	tail.await(t, `"connection"`)
	tail.await(t, `"channel_joined"`)
	tail.await(t, `"notifications_subscribed"`)
	t.Run("send", func(t *testing.T) { testSend(t, at, tail) })
	t.Run("send refused", func(t *testing.T) { testSendRefused(t, at) })
	t.Run("stats", func(t *testing.T) { testStats(t, at) })

	node.stop()
	if r := tail.end(t); r.code != exitFailure || !strings.Contains(r.err, "closed by the server: 4000 drain: reconnect now") {
		t.Errorf("tail ended with %+v", r)
	}
	if r := node.end(t); r.code != exitOK {
		t.Errorf("serve ended with %+v", r)
	}
	if _, err := os.Stat(ready); !os.IsNotExist(err) {
		t.Errorf("the ready file is still there: %v", err)
	}
}

// testDemoToken connects with a token that the demo page gave.
func testDemoToken(t *testing.T, at bound) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at.HTTP+"/demo/token",
		strings.NewReader(`{"tenant":"acme","user":"bob"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Token string }
	err = json.NewDecoder(answer.Body).Decode(&body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	r := runCommand(t, "", variables{"PUSHD_TOKEN": body.Token}, "tail", "--url", "ws://"+at.HTTP+"/ws", "--count", "1")
	if r.code != exitOK || !strings.Contains(r.out, "  connection") {
		t.Errorf("got %+v", r)
	}
	r = runCommand(t, "", variables{"PUSHD_TOKEN": "x.y.z"}, "tail", "--url", "ws://"+at.HTTP+"/ws")
	if r.code != exitFailure || !strings.Contains(r.err, "4201 token_invalid: get a new token") {
		t.Errorf("bad token: got %+v", r)
	}
}

func testSend(t *testing.T, at bound, tail *running) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"user", "acme", "ann", "--json", `{"n":1}`}, `"data":{"n":1}`},
		{[]string{"user", "acme", "ann", "--data", `{"n":2}`, "--notification-type", "orders"}, `"data":{"n":2}`},
		{[]string{"tenant", "acme", "--type", "news", "--json", `{"n":3}`}, `{"type":"news","data":{"n":3}}`},
		{[]string{"channel", "tenant:acme:general", "--raw", `{"type":"news","n":4}`}, `{"type":"news","n":4}`},
		{[]string{"all", "--type", "news", "--json", "-"}, `"data":{"from":"stdin"}`},
	} {
		out := mustRun(t, append(append([]string{"send"}, c.args...), "--server", at.GRPC)...)
		if line, _, _ := strings.Cut(out, "\n"); !strings.HasPrefix(line, "accepted ") || len(line) != len("accepted ")+26 {
			t.Errorf("%q printed %q", c.args, out)
		}
		if line := tail.await(t, c.want); !json.Valid([]byte(line)) {
			t.Errorf("tail printed %q", line)
		}
	}
	var answer struct {
		MessageID string `json:"message_id"`
	}
	out := mustRun(t, "send", "user", "acme", "nobody", "--json", "1", "--server", at.GRPC, "-o", "json")
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.MessageID) != 26 {
		t.Errorf("got %q: %v", out, err)
	}
}

func testSendRefused(t *testing.T, at bound) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"bad tenant":    {[]string{"user", "a:b", "ann", "--json", "1"}, exitFailure, "\n  tenant_id: "},
		"bad JSON":      {[]string{"user", "acme", "ann", "--json", "{"}, exitFailure, "InvalidArgument"},
		"no payload":    {[]string{"user", "acme", "ann"}, exitUsage, "--json"},
		"two payloads":  {[]string{"user", "acme", "ann", "--json", "1", "--data", "2"}, exitUsage, "one payload"},
		"no type":       {[]string{"all", "--json", "1"}, exitUsage, "--type"},
		"raw with type": {[]string{"all", "--raw", "{}", "--type", "x"}, exitUsage, "--raw excludes"},
		"raw user":      {[]string{"user", "acme", "ann", "--raw", "{}"}, exitUsage, "unknown flag"},
		"no timeout":    {[]string{"all", "--type", "x", "--json", "1", "--timeout", "0s"}, exitUsage, "--timeout"},
		"bad output":    {[]string{"all", "--type", "x", "--json", "1", "--output", "xml"}, exitUsage, "text or json"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, "", variables{"PUSHD_SERVER": at.GRPC}, append([]string{"send"}, c.args...)...)
			if r.code != c.code || r.out != "" || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %d %q", r, c.code, c.want)
			}
		})
	}
}

func testStats(t *testing.T, at bound) {
	// Who was there before may be leaving.
	waitFor(t, func() bool {
		return strings.Contains(mustRun(t, "stats", "--server", at.GRPC, "--fresh"), " 1 connections")
	})
	out := mustRun(t, "stats", "--server", at.GRPC, "--fresh", "-o", "json")
	var answer struct {
		Complete bool
		Totals   struct{ Connections string }
		Tenants  []struct {
			TenantID string `json:"tenant_id"`
		}
		Channels []struct{ Channel string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatal(err)
	}
	if !answer.Complete || answer.Totals.Connections != "1" || len(answer.Tenants) != 1 || answer.Tenants[0].TenantID != "acme" {
		t.Errorf("got %s", out)
	}
	if !strings.Contains(out, `"channel":"tenant:acme:general"`) {
		t.Errorf("the channel is missing: %s", out)
	}
	table := mustRun(t, "stats", "--server", at.GRPC, "--fresh")
	for _, part := range []string{"1 connections", "\none   ready", "\nacme ", "\ntenant:acme:general "} {
		if !strings.Contains(table, part) {
			t.Errorf("the table lacks %q:\n%s", part, table)
		}
	}
	watch := startCommand(t, nil, "stats", "--server", at.GRPC, "--watch", "--interval", "10ms")
	for range 3 {
		watch.await(t, "1 connections")
	}
	watch.stop()
	if r := watch.end(t); r.code != exitOK || strings.Contains(r.err, "\x1b") {
		t.Errorf("watch ended with %+v", r)
	}
}

// A drain takes its time; a second signal does not wait for it.
func TestDrainInAHurry(t *testing.T) {
	ctx, drain := context.WithCancel(t.Context())
	now := make(chan struct{})
	at, ended := serveUntil(ctx, t, now, "--drain-window", "1h", "--drain-timeout", "2h")
	defer drain()

	const clients = 3
	ends := closeCodes(t, at, clients)
	drain()
	if code := receive(t, ends); code != 4000 {
		t.Errorf("the first client got %d", code)
	}
	if status, text := fetch(t, "http://"+at.Metrics+"/readyz"); status != http.StatusServiceUnavailable || text != "draining\n" {
		t.Errorf("readyz while draining: %d %q", status, text)
	}
	if r := runCommand(t, "", nil, "health", "--server", at.GRPC); r.code != exitFailure || !strings.Contains(r.err, "not_serving") {
		t.Errorf("health while draining: %+v", r)
	}
	close(now)
	for range clients - 1 {
		if code := receive(t, ends); code != ws.StatusGoingAway {
			t.Errorf("a client got %d", code)
		}
	}
	if err := receive(t, ended); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

// serveUntil runs a node until ctx ends, below the level of signals.
func serveUntil(ctx context.Context, t *testing.T, now <-chan struct{}, args ...string) (bound, <-chan error) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready.json")
	c, err := readConfig(t, variables{"PUSHD_JWT_SECRET": testSecret, "PUSHD_READY_FILE": ready}, append([]string{
		"--dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0",
	}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() {
		ended <- serve(ctx, now, c, writer, slog.New(slog.DiscardHandler))
		_ = writer.Close()
	})
	t.Cleanup(serving.Wait)
	banner := bufio.NewScanner(reader)
	for banner.Scan() && !strings.HasPrefix(banner.Text(), "  limits") {
	}
	serving.Go(func() { _, _ = io.Copy(io.Discard, reader) })
	return readBound(t, ready), ended
}

// closeCodes connects n clients and returns the codes that they are closed
// with.
func closeCodes(t *testing.T, at bound, n int) <-chan ws.StatusCode {
	t.Helper()
	token := newSecret(newToken(t, "--tenant", "acme", "--user", "ann"))
	codes := make(chan ws.StatusCode, n)
	var reading sync.WaitGroup
	for range n {
		s, err := dialSocket(t.Context(), "ws://"+at.HTTP+"/ws", token, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		if _, err := s.next(); err != nil {
			t.Fatal(err)
		}
		reading.Go(func() {
			_, err := s.next()
			var closed *closedError
			if !errors.As(err, &closed) {
				closed = &closedError{}
			}
			codes <- closed.code
		})
	}
	t.Cleanup(reading.Wait)
	return codes
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

func TestServeFailures(t *testing.T) {
	_, at, _ := startNode(t)
	free := []string{"serve", "--dev", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"http taken":    {[]string{"--http-addr", at.HTTP}, exitFailure, "--http-addr"},
		"grpc taken":    {[]string{"--grpc-addr", at.GRPC}, exitFailure, "--grpc-addr"},
		"metrics taken": {[]string{"--metrics-addr", at.Metrics}, exitFailure, "--metrics-addr"},
		"cluster taken": {[]string{"--cluster-addr", at.HTTP}, exitFailure, "cluster"},
		"no NATS":       {[]string{"--nats-url", "nats://127.0.0.1:1"}, exitFailure, "cluster"},
		"short secret":  {[]string{"--jwt-secret", "short"}, exitUsage, "client tokens"},
		"no key file":   {[]string{"--jwt-public-key-file", "/does/not/exist"}, exitUsage, "no such file"},
		"bad key file":  {[]string{"--jwt-public-key-file", write(t, "no PEM")}, exitUsage, "client tokens"},
		"no grpc keys":  {[]string{"--grpc-keys-file", write(t, "")}, exitUsage, "gRPC keys"},
		"no ready file": {[]string{"--ready-file", "/does/not/exist/file"}, exitFailure, "ready file"},
		"argument":      {[]string{"now"}, exitUsage, "now"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, "", nil, append(free[:len(free):len(free)], c.args...)...)
			if r.code != c.code || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %d %q", r, c.code, c.want)
			}
		})
	}
}
