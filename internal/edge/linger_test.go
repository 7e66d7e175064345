package edge

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// written are the texts of one write of the server, and when it came.
type written struct {
	texts []string
	at    time.Time
}

// writes reads each write to a pipe by itself.
type writes struct {
	mu  sync.Mutex
	all []written
}

// read reads until the pipe is closed.
func (w *writes) read(t *testing.T, conn net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		one := written{at: time.Now()}
		for r := bytes.NewReader(buf[:n]); r.Len() > 0; {
			f, err := ws.ReadFrame(r)
			if err != nil {
				t.Errorf("a write of %d bytes: %v", n, err)
				return
			}
			one.texts = append(one.texts, string(f.Payload))
		}
		w.mu.Lock()
		w.all = append(w.all, one)
		w.mu.Unlock()
	}
}

// take returns what has come since the last call, once nothing more can come
// without time passing.
func (w *writes) take() []written {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.all = nil }()
	return w.all
}

// TestLinger: messages of a channel that lingers come after its delay, not
// before, all in one write and in order. A message that does not linger takes
// along what does.
func TestLinger(t *testing.T) {
	const (
		delay = 5 * time.Millisecond
		tick  = "tenant:acme:tick:a"
		talk  = "tenant:acme:talk"
	)
	pattern, err := address.ParsePattern("tenant:acme:tick:*")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		h := newPipeHub(t, func(o *Options) { o.Lingers = []Linger{{Channels: pattern, Delay: delay}} })
		var got writes
		conn := attachPipe(t, h, func(conn net.Conn) { got.read(t, conn) })
		for _, channel := range []string{tick, talk} {
			join := ws.NewTextFrame(fmt.Appendf(nil, `{"type":"join_channel","data":{"channel":%q}}`, channel))
			if err := ws.WriteFrame(conn, ws.MaskFrame(join)); err != nil {
				t.Fatal(err)
			}
		}
		var answers []string
		for _, w := range got.take() {
			answers = append(answers, w.texts...)
		}
		if len(answers) != 3 || !strings.Contains(answers[2], "channel_joined") {
			t.Fatalf("got %v", answers)
		}
		pass := func(d time.Duration) {
			timer := time.NewTimer(d)
			<-timer.C
		}
		// expect wants one write of these texts, now; none: nothing.
		expect := func(when string, texts ...string) {
			t.Helper()
			switch all := got.take(); {
			case len(all) == 0 && len(texts) == 0:
			case len(all) != 1 || !slices.Equal(all[0].texts, texts) || !all[0].at.Equal(time.Now()):
				t.Fatalf("%s: got %v, want one write of %v", when, all, texts)
			}
		}
		var burst []string
		for i := range 20 {
			burst = append(burst, fmt.Sprintf(`{"type":"tick","data":%d}`, i))
		}

		for _, text := range burst {
			deliverTo(t, h, tick, text)
		}
		expect("at once")
		pass(delay - 1)
		expect("just before")
		pass(1)
		expect("after the delay", burst...)

		deliverTo(t, h, tick, burst[0])
		pass(delay / 2)
		expect("half of the delay")
		deliverTo(t, h, talk, `{"type":"talk"}`)
		expect("with another", burst[0], `{"type":"talk"}`)
		pass(2 * delay)
		expect("nothing is left")
		deliverTo(t, h, talk, `{"type":"talk"}`)
		expect("at once without others", `{"type":"talk"}`)
	})
}

// deliverTo hands h a message for a channel of tenant acme.
func deliverTo(t *testing.T, h *Hub, channel, text string) {
	t.Helper()
	name, err := address.ParseChannel(channel)
	if err != nil {
		t.Fatal(err)
	}
	tenant, err := address.ParseTenantID("acme")
	if err != nil {
		t.Fatal(err)
	}
	target, err := address.ChannelTarget(tenant, name)
	if err != nil {
		t.Fatal(err)
	}
	h.Deliver(&message.Message{ID: message.NewID(), Target: target, Payload: []byte(text)})
}
