package edge

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
)

// In a bubble: the answer to one more has little time.
func TestPassedConnsAreBounded(t *testing.T) { synctest.Test(t, checkPassedConns) }

func checkPassedConns(t *testing.T) {
	p := newPassedConns()
	offer := func() (client net.Conn, taken bool) {
		server, client := net.Pipe()
		t.Cleanup(func() { _ = client.Close() })
		accepted := make(chan struct{})
		go func() { // ends with Accept, which offer or Close ends
			defer close(accepted)
			_, _ = p.Accept()
		}()
		answer := make(chan bool, 1)
		go func() { answer <- p.offer(server) }()
		select {
		case <-accepted:
			return client, <-answer
		case taken := <-answer:
			return client, taken
		}
	}
	for i := range maxPassed {
		if _, taken := offer(); !taken {
			t.Fatalf("connection %d is refused", i)
		}
	}
	server, client := net.Pipe()
	refused := make(chan bool, 1)
	go func() { refused <- !p.offer(server) }()
	text, err := io.ReadAll(client)
	if !<-refused || err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 503 ") || !strings.Contains(string(text), "Retry-After") {
		t.Errorf("one more: %q, %v", text, err)
	}
	p.state(nil, http.StateActive)
	p.state(nil, http.StateClosed)
	if _, taken := offer(); !taken {
		t.Error("a place that was given back is not given out")
	}
	_ = p.Close()
	p.state(nil, http.StateClosed)
	if _, taken := offer(); taken || len(p.slots) != maxPassed-1 {
		t.Errorf("after Close: taken %v, %d places in use", taken, len(p.slots))
	}
}
