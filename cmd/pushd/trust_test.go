package main

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// startTLSNode runs a node whose WebSocket and HTTP speak TLS, and what a load
// balancer is for its Control API: TLS that ends in front of it.
func startTLSNode(t *testing.T) (at bound, grpc, caFile string) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	_, at, _ = startNode(t, "--tls-cert-file", certFile, "--tls-key-file", keyFile)
	return at, startTLSFront(t, at.GRPC, certFile, keyFile), certFile
}

// startTLSFront accepts TLS and passes what is inside to another address.
func startTLSFront(t *testing.T, to, certFile, keyFile string) (addr string) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			front, err := ln.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				_ = front.Close()
				return
			}
			// The end of either is the end of both.
			for _, pair := range [][2]net.Conn{{front, back}, {back, front}} {
				running.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					_ = pair[0].Close()
					_ = pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		running.Wait() // The clients have ended theirs.
	})
	return ln.Addr().String()
}

func TestClientsSpeakTLS(t *testing.T) {
	at, grpc, caFile := startTLSNode(t)
	url := "wss://" + at.HTTP + "/ws"
	env := variables{"PUSHD_TOKEN": newToken(t, "--tenant", "acme", "--user", "ann")}
	calls := []string{"--server", grpc, "--tls"}
	bench := []string{"--secret", testSecret, "--url", url, "--clients", "5"}
	traffic := append([]string{"--duration", "50ms", "--warmup", "0s"}, bench...)
	for name, c := range map[string]struct {
		args []string
		out  string
	}{
		"tail":                     {[]string{"tail", "--url", url, "--count", "1"}, "connection"},
		"send":                     {append([]string{"send", "user", "acme", "ann", "--json", "1"}, calls...), "accepted "},
		"stats":                    {append([]string{"stats"}, calls...), "connections"},
		"health, calls":            {append([]string{"health"}, calls...), "serving"},
		"health, HTTP alone":       {[]string{"health", "--server", at.GRPC, "--http", "https://" + at.HTTP}, "https://" + at.HTTP + " ready"},
		"bench connect":            {append([]string{"bench", "connect"}, bench...), "connected   5 clients"},
		"bench connect, open loop": {append([]string{"bench", "connect", "--rate", "500"}, bench...), "connected   5 clients"},
		"bench fanout, all TLS":    {append(append([]string{"bench", "fanout"}, traffic...), calls...), "deliveries  "},
		"bench unicast, clients":   {append([]string{"bench", "unicast", "--server", at.GRPC}, traffic...), "deliveries  "},
		"bench notify, calls":      {append([]string{"bench", "notify", "--duration", "50ms", "--stream"}, calls...), "calls  "},
	} {
		t.Run(name, func(t *testing.T) {
			trusting := append(c.args, "--ca-file", caFile)
			if r := runCommand(t, "", env, trusting...); r.code != exitOK || !strings.Contains(r.out, c.out) {
				t.Errorf("got %+v, want %q", r, c.out)
			}
			// Without it the same server is a stranger.
			if r := runCommand(t, "", env, c.args...); r.code != exitFailure || !strings.Contains(r.err, "x509: ") {
				t.Errorf("trusts a stranger: %+v", r)
			}
			if r := runCommand(t, "", env, append(c.args, "--tls-skip-verify")...); r.code != exitOK || !strings.Contains(r.out, c.out) {
				t.Errorf("with --tls-skip-verify: %+v", r)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		out := mustRun(t, append([]string{"bench", "fanout", "--ca-file", caFile, "--output", "json"}, append(traffic, calls...)...)...)
		var report struct{ URL, Server string }
		if err := json.Unmarshal([]byte(out), &report); err != nil || report.URL != url || report.Server != grpc {
			t.Errorf("got %s, %v", out, err)
		}
	})
}

func TestTLSIsExplained(t *testing.T) {
	at, grpc, caFile := startTLSNode(t)
	_, plain, _ := startNode(t)
	env := variables{"PUSHD_TOKEN": newToken(t, "--tenant", "acme", "--user", "ann")}
	connect := func(url string, more ...string) []string {
		return append([]string{"bench", "connect", "--secret", testSecret, "--clients", "2", "--url", url}, more...)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"stranger":         {connect("wss://" + at.HTTP + "/ws"), "\n  The authority that signed it, or the certificate itself if none did, is given by --ca-file."},
		"stranger, tail":   {[]string{"tail", "--url", "wss://" + at.HTTP + "/ws"}, "is given by --ca-file."},
		"stranger, health": {[]string{"health", "--server", at.GRPC, "--http", "https://" + at.HTTP}, "is given by --ca-file."},
		"other name": {
			connect("wss://"+strings.Replace(at.HTTP, "127.0.0.1", "localhost", 1)+"/ws", "--ca-file", caFile),
			"\n  The address must be one that the certificate was made for.",
		},
		"no TLS there":         {connect("wss://"+plain.HTTP+"/ws", "--tls-skip-verify"), "\n  Does the server speak TLS at this address?"},
		"no TLS there, server": {[]string{"stats", "--server", plain.GRPC, "--tls"}, "\n  Does the server speak TLS at this address? pushd has no TLS there"},
		"TLS there":            {connect("ws://" + at.HTTP + "/ws"), "\n  Does the server speak TLS at this address?"},
		"TLS there, tail":      {[]string{"tail", "--url", "ws://" + at.HTTP + "/ws"}, "\n  Does the server speak TLS at this address?"},
		"TLS there, health":    {[]string{"health", "--server", plain.GRPC, "--http", "http://" + at.HTTP}, "\n  Does the server speak TLS at this address?"},
		"TLS there, server":    {[]string{"health", "--server", grpc}, "(Unavailable)\n  The server hung up: does it want --tls"},
		"stranger, server":     {[]string{"health", "--server", grpc, "--tls"}, "is given by --ca-file."},
		"other name, server": {
			[]string{"health", "--server", strings.Replace(grpc, "127.0.0.1", "localhost", 1), "--tls", "--ca-file", caFile},
			"\n  The address must be one that the certificate was made for.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCommand(t, "", env, c.args...)
			if r.code != exitFailure || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %q", r, c.want)
			}
		})
	}
}

// What was given for TLS is never left aside in silence.
func TestTrustIsChecked(t *testing.T) {
	empty := write(t, "no PEM")
	env := variables{"PUSHD_TOKEN": "x.y.z"}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"send":            {[]string{"send", "all", "--type", "x", "--json", "1", "--ca-file", empty}, "which is spoken with --tls\n"},
		"bench connect":   {[]string{"bench", "connect", "--secret", testSecret, "--ca-file", empty}, "which is spoken with --url wss://\n"},
		"bench notify":    {[]string{"bench", "notify", "--ca-file", empty}, "which is spoken with --tls\n"},
		"any case":        {[]string{"bench", "connect", "--secret", testSecret, "--url", "WSS://127.0.0.1:1/ws", "--ca-file", empty}, "holds no certificate"},
		"tail":            {[]string{"tail", "--tls-skip-verify"}, "which is spoken with --url wss://\n"},
		"health":          {[]string{"health", "--http", "http://127.0.0.1:1", "--ca-file", empty}, "which is spoken with --tls or --http https://\n"},
		"no certificate":  {[]string{"stats", "--tls", "--ca-file", empty}, "holds no certificate"},
		"no file":         {[]string{"stats", "--tls", "--ca-file", "/does/not/exist"}, "no such file"},
		"both":            {[]string{"tail", "--url", "wss://127.0.0.1:1/ws", "--ca-file", empty, "--tls-skip-verify"}, "exclude one another"},
		"by the variable": {[]string{"stats", "--ca-file", "/does/not/exist"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "by the variable" {
				env["PUSHD_TLS"] = "true"
			} else {
				delete(env, "PUSHD_TLS")
			}
			if r := runCommand(t, "", env, c.args...); r.code != exitUsage || !strings.Contains(r.err, c.want) {
				t.Errorf("got %+v, want %q", r, c.want)
			}
		})
	}
}
