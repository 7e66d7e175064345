package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/bench"
)

func TestBenchRefuses(t *testing.T) {
	secret := []string{"--secret", testSecret}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no command":             {nil, "a command is missing"},
		"unknown command":        {[]string{"storm"}, `unknown command "storm"`},
		"argument":               {[]string{"fanout", "now"}, "now"},
		"no secret":              {[]string{"fanout"}, "a secret is missing: give --secret-file"},
		"no secret, notify":      {[]string{"notify", "--clients", "1"}, "a secret is missing"},
		"two secrets":            {append([]string{"fanout", "--secret-file", "x"}, secret...), "not both"},
		"no secret file":         {[]string{"connect", "--secret-file", "/does/not/exist"}, "no such file"},
		"short secret":           {[]string{"connect", "--secret", "short"}, "secret"},
		"no clients":             {append([]string{"fanout", "--clients", "0"}, secret...), "clients must be at least 1"},
		"no clients, connect":    {append([]string{"connect", "--clients", "0"}, secret...), "clients must be at least 1"},
		"negative clients":       {[]string{"notify", "--clients", "-1"}, "clients must be at least 0"},
		"no users":               {[]string{"notify", "--users", "0"}, "users must be at least 1"},
		"more clients than user": {append([]string{"notify", "--users", "2", "--clients", "3"}, secret...), "more than the 2 users"},
		"nothing in flight":      {append([]string{"unicast", "--in-flight", "0"}, secret...), "in flight must be from 1"},
		"nothing in flight, too": {append([]string{"connect", "--in-flight", "0"}, secret...), "in flight must be at least 1"},
		"small payload":          {append([]string{"unicast", "--payload", "10"}, secret...), "payload must be from"},
		"huge payload":           {append([]string{"unicast", "--payload", "1000000000000"}, secret...), "payload must be from"},
		"negative rate":          {append([]string{"fanout", "--rate", "-1"}, secret...), "rate must not be negative"},
		"no number":              {append([]string{"fanout", "--rate", "NaN"}, secret...), "rate must not be negative"},
		"too many messages":      {append([]string{"fanout", "--rate", "1e9"}, secret...), "rate and duration"},
		"no duration":            {append([]string{"fanout", "--duration", "0s"}, secret...), "duration must be positive"},
		"negative warm-up":       {append([]string{"fanout", "--warmup", "-1s"}, secret...), "warm-up must not be negative"},
		"negative hold":          {append([]string{"connect", "--hold", "-1s"}, secret...), "hold must not be negative"},
		"bad tenant":             {append([]string{"fanout", "--tenant", "a:b"}, secret...), "--tenant"},
		"negative process":       {append([]string{"fanout", "--pid", "-1"}, secret...), "--pid"},
		"bad output":             {append([]string{"fanout", "--output", "xml"}, secret...), "text or json"},
		"URL of another kind":    {append([]string{"fanout", "--url", "http://127.0.0.1/ws"}, secret...), "must begin with ws:// or wss://"},
		"remote URL with TLS":    {append([]string{"fanout", "--url", "wss://192.0.2.1/ws"}, secret...), "--url wss://192.0.2.1/ws is not loopback"},
		"trust without TLS":      {append([]string{"fanout", "--ca-file", "ca.pem"}, secret...), "for TLS, which is spoken with --url wss:// or --tls"},
		"no trust without TLS":   {append([]string{"connect", "--tls-skip-verify"}, secret...), "for TLS"},
		"two kinds of trust":     {append([]string{"connect", "--url", "wss://127.0.0.1/ws", "--tls-skip-verify", "--ca-file", "x"}, secret...), "exclude one another"},
		"no CA file":             {append([]string{"connect", "--url", "wss://127.0.0.1/ws", "--ca-file", "/does/not/exist"}, secret...), "--ca-file: open"},
		"TLS for calls of none":  {append([]string{"connect", "--tls"}, secret...), "unknown flag"},
		"trust, but no clients":  {[]string{"notify", "--url", "wss://127.0.0.1/ws", "--tls-skip-verify"}, "for TLS"},
		"negative rate, connect": {append([]string{"connect", "--rate", "-1"}, secret...), "rate must not be negative"},
		"too slow":               {append([]string{"connect", "--rate", "1e-9"}, secret...), "must not take more than 24h"},
		"no rate":                {append([]string{"connect", "--rate", "NaN"}, secret...), "rate must not be negative"},
		"bad URL":                {append([]string{"fanout", "--url", "ws://%zz"}, secret...), "--url"},
		"URL without host":       {append([]string{"fanout", "--url", "ws:///ws"}, secret...), "no host"},
		"remote URL":             {append([]string{"connect", "--url", "ws://192.0.2.1/ws"}, secret...), "--url ws://192.0.2.1/ws is not loopback: to load it all the same, give --allow-remote"},
		"remote IPv6 URL":        {append([]string{"connect", "--url", "ws://[2001:db8::1]/ws"}, secret...), "--allow-remote"},
		"remote server":          {append([]string{"fanout", "--server", "192.0.2.1:9090"}, secret...), "--server 192.0.2.1:9090 is not loopback"},
		"server of other form":   {[]string{"notify", "--server", "dns:///192.0.2.1:9090"}, "--allow-remote"},
		"timeout":                {[]string{"notify", "--timeout", "1s"}, "unknown flag"},
		"server of connect":      {[]string{"connect", "--server", "127.0.0.1:9090"}, "unknown flag"},
		"store what":             {[]string{"notify", "--store", "maybe"}, "must be rule, always or never"},
		"stream of connect":      {[]string{"connect", "--stream"}, "unknown flag"},
		"no key file":            {[]string{"notify", "--key-file", "/does/not/exist"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, "", nil, append([]string{"bench"}, c.args...)...)
			code := exitUsage
			if name == "no key file" {
				code = exitFailure // as with all commands
			}
			if r.code != code || r.out != "" || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %d %q", r, code, c.want)
			}
		})
	}
}

// The guard is for addresses that variables give, too.
func TestBenchRefusesRemoteVariables(t *testing.T) {
	for _, c := range []struct {
		name string
		env  variables
	}{
		{"server", variables{"PUSHD_SERVER": "192.0.2.1:9090"}},
		{"url", variables{"PUSHD_URL": "ws://192.0.2.1/ws", "PUSHD_JWT_SECRET": testSecret}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runCommand(t, "", c.env, "bench", "notify", "--users", "1", "--clients", strconv.Itoa(len(c.env)-1))
			if r.code != exitUsage || !strings.Contains(r.err, "--allow-remote") {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// benchArgs makes a short bench against a node.
func benchArgs(at bound, scenario string, more ...string) []string {
	args := []string{"bench", scenario, "--pid", strconv.Itoa(at.PID)}
	if scenario != "notify" {
		args = append(args, "--secret", testSecret, "--url", "ws://"+at.HTTP+"/ws", "--clients", "5")
	}
	if scenario != "connect" {
		args = append(args, "--server", at.GRPC, "--duration", "100ms", "--warmup", "20ms")
	}
	return append(args, more...)
}

// runBench runs a bench, and again while the server says that it can't publish: on
// a busy machine it takes longer than the 2 s that it has.
func runBench(t *testing.T, args ...string) result {
	t.Helper()
	var r result
	waitFor(t, func() bool {
		r = runCommand(t, "", nil, args...)
		return !strings.Contains(r.err, "(Unavailable, UNAVAILABLE)")
	})
	return r
}

// keysOf returns the sorted keys of a JSON object.
func keysOf(t *testing.T, text json.RawMessage) []string {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return slices.Sorted(maps.Keys(fields))
}

func TestBench(t *testing.T) {
	_, at, _ := startNode(t)
	url, calls := "ws://"+at.HTTP+"/ws", "the Control API at "+at.GRPC
	traffic := []string{
		"call_micros", "clients", "cpu_micros", "deliveries", "deliveries_per_second", "in_flight", "latency_micros", "messages",
		"messages_per_second", "payload_bytes", "seconds",
	}
	notify := []string{"call_micros", "calls", "calls_per_second", "clients", "cpu_micros", "in_flight", "payload_bytes", "seconds", "users"}
	with := func(fields []string, more ...string) []string {
		return slices.Sorted(slices.Values(append(more, fields...)))
	}
	for _, c := range []struct {
		name     string
		scenario string
		args     []string
		plan     string
		text     []string
		fields   []string
	}{
		{
			"connect", "connect", nil, url + ": 5 clients connect, 64 at once",
			[]string{"connected   5 clients in", "latency     p50 ", "server CPU "},
			[]string{"clients", "cpu_micros", "in_flight", "latency_micros", "per_second", "seconds"},
		},
		{
			"connect, open loop", "connect", []string{"--rate", "500"}, url + ": 5 clients connect, 500 due in a second\n",
			[]string{"connected   5 clients in"},
			[]string{"clients", "cpu_micros", "in_flight", "latency_micros", "per_second", "rate", "seconds"},
		},
		{
			"connect and hold", "connect", []string{"--hold", "10ms"}, "and stay for 10ms",
			[]string{"held        "},
			[]string{"clients", "cpu_micros", "held_seconds", "in_flight", "latency_micros", "per_second", "seconds"},
		},
		{
			"fanout, open loop", "fanout", []string{"--rate", "100"},
			url + " and " + calls + ": messages to all of 5 clients, 128 bytes each, 100 due in a second, for 100ms after 20ms of warm-up",
			[]string{"messages    10 in ", "deliveries  50, ", "latency     p50 ", "call        p50 ", " per delivery"},
			with(traffic, "rate"),
		},
		{
			"fanout, closed loop", "fanout", []string{"--in-flight", "3", "--payload", "500", "--warmup", "0s"},
			"500 bytes each, 3 under way at once, for 100ms\n", []string{"messages  "}, traffic,
		},
		{
			"unicast, open loop", "unicast", []string{"--rate", "100"}, "messages to one of 5 clients",
			[]string{"messages    10 in ", "deliveries  10, "}, with(traffic, "rate"),
		},
		{"unicast, closed loop", "unicast", []string{"--tenant", "acme"}, "64 under way at once", []string{"messages  "}, traffic},
		{
			"notify, open loop", "notify", []string{"--rate", "100"},
			"loading " + calls + ": calls for one of 1000 users, 0 of them connected",
			[]string{"calls       10 in ", "call        p50 ", " per call"}, with(notify, "rate"),
		},
		{
			"notify, closed loop", "notify", []string{"--users", "9", "--clients", "3", "--secret", testSecret, "--url", url},
			url + " and " + calls + ": calls for one of 9 users, 3 of them connected", []string{"calls  "}, notify,
		},
		{
			"notify, stream", "notify", []string{"--stream", "--store", "never"}, "128 bytes each, by one stream, never stored, 64 under way",
			[]string{"calls  "}, notify,
		},
		{
			"unicast, stream", "unicast", []string{"--stream", "--rate", "100"}, "128 bytes each, by one stream, 100 due",
			[]string{"deliveries  10, "}, with(traffic, "rate"),
		},
		{"fanout, stored", "fanout", []string{"--stream", "--store", "always"}, "by one stream, always stored", []string{"messages  "}, traffic},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := benchArgs(at, c.scenario, c.args...)
			r := runBench(t, args...)
			if r.code != exitOK || !strings.Contains(r.err, c.plan) || strings.Count(r.err, "\n") != 1 {
				t.Fatalf("got %+v, want one line with %q", r, c.plan)
			}
			if strings.Contains(r.out+r.err, "\x1b") || strings.Contains(r.out+r.err, "\r") {
				t.Errorf("progress without a terminal: %+v", r)
			}
			for _, want := range c.text {
				if !strings.Contains(r.out, want) {
					t.Errorf("%q is missing in\n%s", want, r.out)
				}
			}
			r = runBench(t, append(args, "--output", "json")...)
			if r.code != exitOK {
				t.Fatalf("got %+v", r)
			}
			checkBenchJSON(t, r.out, c.scenario, c.fields)
		})
	}
}

// checkBenchJSON holds a line of JSON against what --help says of it.
func checkBenchJSON(t *testing.T, out, scenario string, fields []string) {
	t.Helper()
	if strings.Count(out, "\n") != 1 {
		t.Errorf("not one line: %q", out)
	}
	var report struct {
		Scenario, URL, Server, Tenant string
		Started                       time.Time
		Result                        json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if report.Scenario != scenario || report.Tenant == "" || time.Since(report.Started) > time.Minute || report.URL+report.Server == "" {
		t.Errorf("got %+v", report)
	}
	if got := keysOf(t, report.Result); !slices.Equal(got, fields) {
		t.Errorf("the result has %q, want %q", got, fields)
	}
	var figures struct {
		CPU     float64         `json:"cpu_micros"`
		Latency json.RawMessage `json:"latency_micros"`
		Call    json.RawMessage `json:"call_micros"`
	}
	if err := json.Unmarshal(report.Result, &figures); err != nil {
		t.Fatal(err)
	}
	if figures.CPU <= 0 {
		t.Errorf("no CPU time in %s", out)
	}
	for _, times := range []json.RawMessage{figures.Latency, figures.Call} {
		if times == nil {
			continue
		}
		if got := keysOf(t, times); !slices.Equal(got, []string{"max", "p50", "p90", "p99", "p999"}) {
			t.Errorf("times have %q", got)
		}
	}
	help := newBenchCommand().Long
	for _, name := range append(keysOf(t, []byte(out)), fields...) {
		if documented := strings.TrimSuffix(name, "_per_second"); !strings.Contains(help, documented) {
			t.Errorf("--help says nothing about %q", name)
		}
	}
}

func TestBenchFails(t *testing.T) {
	_, at, _ := startNode(t, "--jwt-audience", "app", "--jwt-issuer", "us")
	whole := []string{"--audience", "app", "--issuer", "us"}
	if r := runBench(t, benchArgs(at, "unicast", whole...)...); r.code != exitOK {
		t.Errorf("with audience and issuer: %+v", r)
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"wrong token": {benchArgs(at, "fanout"), exitFailure, "4201"},
		"wrong token, hint": {
			benchArgs(at, "connect"), exitFailure, "get a new token, then reconnect\n  The tokens are signed with --secret-file: is that",
		},
		"too large":    {benchArgs(at, "unicast", append(whole, "--payload", "2000000", "--in-flight", "1")...), exitFailure, "InvalidArgument"},
		"no such path": {benchArgs(at, "connect", "--url", "ws://"+at.HTTP+"/nothing"), exitFailure, "refused the upgrade"},
		"nobody serves": {
			benchArgs(at, "connect", "--url", "ws://127.0.0.1:1/ws"), exitFailure,
			"connection refused\n  Is pushd serving at ws://127.0.0.1:1/ws? Another address is given by --url.",
		},
		"no API": {
			benchArgs(at, "notify", "--server", "127.0.0.1:1"), exitFailure,
			"(Unavailable)\n  Is pushd serving at 127.0.0.1:1? Another address is given by --server.",
		},
		"no such process": {benchArgs(at, "connect", "--pid", "999999999"), exitUsage, "--pid"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, "", nil, c.args...)
			if r.code != c.code || r.out != "" || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %d %q", r, c.code, c.want)
			}
		})
	}
}

// A key file is sent with every call.
func TestBenchSendsTheKey(t *testing.T) {
	_, addr := startRecorder(t)
	args := []string{"bench", "notify", "--server", addr, "--duration", "50ms", "--in-flight", "2"}
	if r := runCommand(t, "", nil, append(args, "--key-file", write(t, "the-key\n"))...); r.code != exitOK {
		t.Errorf("got %+v", r)
	}
	if r := runCommand(t, "", nil, append(args, "--stream")...); r.code != exitFailure || !strings.Contains(r.err, "(Unauthenticated)") {
		t.Errorf("a stream without a key: %+v", r)
	}
	r := runCommand(t, "", nil, args...)
	if r.code != exitFailure || !strings.Contains(r.err, "(Unauthenticated)\n  A bearer key is given by --key-file.") {
		t.Errorf("without a key: %+v", r)
	}
}

// awaitMembers waits until channels have so many members and so many messages
// went out.
func awaitMembers(t *testing.T, at bound, members, out int) {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		m, o := traffic(t, at)
		if m == members && o >= out {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("%d members and %d messages, want %d and %d", m, o, members, out)
		}
	}
}

// traffic asks a node for the members of all channels, and for the messages
// that went out since it was started.
func traffic(t *testing.T, at bound) (members, out int) {
	t.Helper()
	var answer struct {
		Totals struct {
			MessagesOut int `json:"messages_out,string"`
		}
		Channels []struct {
			Connections int `json:"connections,string"`
		}
	}
	text := mustRun(t, "stats", "--server", at.GRPC, "--fresh", "-o", "json")
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, c := range answer.Channels {
		members += c.Connections
	}
	return members, answer.Totals.MessagesOut
}

// An interrupt ends a bench in order, with the result of the part.
func TestBenchInterrupted(t *testing.T) {
	// Nothing is stored: on a busy machine that may take longer than it has.
	_, at, _ := startNode(t, "--inbox-history", "off")
	const clients = 5
	api := []string{"--warmup", "0s", "--duration", "1h", "--rate", "500"}
	for scenario, args := range map[string][]string{
		"connect": {"--hold", "1h"},
		"fanout":  api,
		"unicast": api,
		"notify":  append(api, "--stream", "--users", "5", "--clients", "5", "--secret", testSecret, "--url", "ws://"+at.HTTP+"/ws"),
	} {
		t.Run(scenario, func(t *testing.T) {
			awaitMembers(t, at, 0, 0)
			_, before := traffic(t, at)
			r := startCommand(t, nil, benchArgs(at, scenario, append(args, "--output", "json")...)...)
			if scenario == "connect" {
				r.awaitIn(t, r.errs, "connect: 5 connections held")
			} else {
				awaitMembers(t, at, clients, before+1)
			}
			r.stop()
			line := r.await(t, `"scenario"`)
			if end := r.end(t); end.code != exitOK {
				t.Errorf("ended with %+v", end)
			}
			var report struct {
				Result struct {
					Clients                     int
					Seconds                     float64
					Messages, Deliveries, Calls int64
					Stopped                     bool
				}
			}
			if err := json.Unmarshal([]byte(line), &report); err != nil {
				t.Fatal(err)
			}
			got := report.Result
			ok := got.Stopped && got.Seconds > 0
			switch scenario {
			case "connect":
				ok = ok && got.Clients == clients
			case "fanout":
				ok = ok && got.Messages > 0 && got.Deliveries == clients*got.Messages
			case "unicast":
				ok = ok && got.Messages > 0 && got.Deliveries == got.Messages
			case "notify":
				ok = ok && got.Calls > 0
			}
			if !ok {
				t.Errorf("got %+v", got)
			}
		})
	}
	t.Run("while it warms up", func(t *testing.T) {
		r := startCommand(t, nil, benchArgs(at, "fanout", "--warmup", "1h", "--rate", "100")...)
		awaitMembers(t, at, clients, 0)
		r.stop()
		if end := r.end(t); end.code != exitFailure || !strings.Contains(end.err, "stopped before anything was measured") {
			t.Errorf("ended with %+v", end)
		}
	})
	t.Run("twice", func(t *testing.T) {
		now := make(chan struct{})
		ctx, finish := atOnce(t.Context(), now)
		defer finish()
		close(now)
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, errInterrupted) {
			t.Errorf("cause %v", err)
		}
	})
}

func TestBenchText(t *testing.T) {
	l := bench.Latency{P50: 12.4, P90: 999, P99: 1500, P999: 2e6, Max: 61e6}
	for name, c := range map[string]struct {
		result benchResult
		want   string
	}{
		"connect": {
			connectResult{bench.ConnectResult{Clients: 5, Seconds: 0.5, PerSecond: 10, CPUMicros: 3, Latency: l, HeldSeconds: 2}},
			"connected   5 clients in 0.50 s, 10/s\n" +
				"latency     p50 12 µs, p90 999 µs, p99 1.50 ms, p99.9 2.00 s, max 61.00 s\n" +
				"held        2.0 s\n" +
				"server CPU  3.0 µs per connection\n",
		},
		"notify, stopped": {
			notifyResult{bench.NotifyResult{Calls: 5, Seconds: 0.5, CallsPerSecond: 10, Call: l, Stopped: true}},
			"calls       5 in 0.50 s, 10/s\n" +
				"call        p50 12 µs, p90 999 µs, p99 1.50 ms, p99.9 2.00 s, max 61.00 s\n" +
				"stopped     early, by an interrupt\n",
		},
	} {
		var b strings.Builder
		if err := (&benchReport{Result: c.result}).write(&b, outputText); err != nil || b.String() != c.want {
			t.Errorf("%s: %v, got\n%s\nwant\n%s", name, err, b.String(), c.want)
		}
	}
	closed, err := os.Open(os.DevNull) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	for _, output := range []outputFormat{outputText, outputJSON} {
		if err := (&benchReport{Result: notifyResult{}}).write(closed, output); err == nil {
			t.Errorf("%s: no error for a file that takes nothing", output)
		}
	}
}
