package stress_test

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/test/harness"
)

const (
	// floodLimit bounds what one attacker sends, in bytes.
	floodLimit = 400 << 20
	// chunkSize is about how much an attacker sends at once, in bytes.
	chunkSize = 32 << 10
	// maxMessage is the default of --max-message-bytes.
	maxMessage = 1 << 20
	// answerWithin is how long a bystander may wait for an answer meanwhile, in the
	// long run. The small one shares the machine, and finds only what would last.
	answerWithin = 3 * time.Second
)

// maxRise is how far the memory of the server may rise meanwhile, in bytes. 32 MiB
// of it may be garbage that no collection has seen yet; the race detector makes
// three of each.
func maxRise() int64 { return inLong[int64](64<<20, 160<<20) }

// flood is one way to send too much.
type flood struct {
	// begin is sent once, then more until the server closes.
	begin, more string
	code        ws.StatusCode
	// answered says that each of it is answered. Who does not read as fast as
	// it writes is then a slow consumer, and may be closed for that.
	answered bool
}

// clientFrame returns a frame of a client; its mask is zero.
func clientFrame(fin bool, op ws.OpCode, payload string) string {
	h := ws.Header{Fin: fin, OpCode: op, Masked: true, Length: int64(len(payload))}
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, h); err != nil {
		return err.Error()
	}
	b.WriteString(payload)
	return b.String()
}

// chunk repeats a frame.
func chunk(frame string) string { return strings.Repeat(frame, max(1, chunkSize/len(frame))) }

func floods() map[string]flood {
	begin := clientFrame(false, ws.OpText, `{"type":"ping","id":"`)
	part := func(payload string) string { return clientFrame(false, ws.OpContinuation, payload) }
	ping := func(payload string) string { return clientFrame(true, ws.OpPing, payload) }
	return map[string]flood{
		"pongs":                 {more: chunk(clientFrame(true, ws.OpPong, "")), code: 4103},
		"pings":                 {more: chunk(ping(strings.Repeat("p", 125))), code: 4103},
		"requests":              {more: chunk(clientFrame(true, ws.OpText, `{"type":"ping"}`)), code: 4103, answered: true},
		"fragments":             {begin: begin, more: chunk(part("x")), code: 1009},
		"empty continuations":   {begin: begin, more: chunk(part("")), code: 1009},
		"pings among fragments": {begin: begin, more: chunk(ping("") + part("")), code: 1009},
		"one long message":      {begin: begin, more: part(strings.Repeat("x", chunkSize)), code: 1009},
	}
}

// TestFloods: who sends too much is closed with the right code and counted,
// costs the server no memory to speak of, and nobody else is kept waiting.
func TestFloods(t *testing.T) {
	for name, f := range floods() {
		t.Run(name, func(t *testing.T) {
			// Pings must go on for 5 s to be a flood: most of the time is waiting.
			t.Parallel()
			attackers := inLong(20, 2)
			ctx := bounded(t, patience)
			st := newStand(ctx, t)
			attackAll(t, attackers, func() error {
				p, err := st.attacker(ctx)
				if err != nil {
					return err
				}
				defer func() { _ = p.reset() }()
				return f.run(p)
			})
			st.check(t, maxRise())
			got := st.closed(ctx, t, f.code)
			if f.answered {
				got += st.closed(ctx, t, 4101)
			}
			if got != attackers {
				t.Errorf("%d connections were counted as closed for it, want %d", got, attackers)
			}
		})
	}
}

// run floods the server and returns nil if it answered with the right code.
func (f flood) run(p *peer) error {
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	ended := make(chan error, 1)
	// Ends when the server closes, or at the deadline.
	go func() { ended <- p.awaitClose() }()
	sent, writeErr := pour(p.conn, f.begin, f.more)
	err := <-ended
	if !isClosed(err, f.code) && (!f.answered || !isClosed(err, 4101)) {
		return fmt.Errorf("after %d bytes: %w, writing: %w; want %d", sent, err, writeErr, f.code)
	}
	return nil
}

// pour writes begin and then more, again and again, until it is not taken any
// more. It returns how much was.
func pour(conn net.Conn, begin, more string) (sent int64, err error) {
	n, err := io.WriteString(conn, begin)
	sent = int64(n)
	for err == nil && sent < floodLimit {
		n, err = io.WriteString(conn, more)
		sent += int64(n)
	}
	return sent, err
}

// attackAll runs attackers at once and fails for each that got another answer
// than it should.
func attackAll(t *testing.T, attackers int, attack func() error) {
	t.Helper()
	errs := make([]error, attackers)
	var all sync.WaitGroup
	for i := range attackers {
		all.Go(func() { errs[i] = attack() })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// stand is a node under attack, with a bystander.
type stand struct {
	node      *harness.Node
	meter     meter
	read      int64 // by the node, before the attack
	token     string
	bystander *bystander
}

func newStand(ctx context.Context, t *testing.T) *stand {
	t.Helper()
	st := &stand{node: startNode(ctx, t, "--max-connections-per-user", "1000")}
	st.token = sign(t, "acme", "mallory")
	st.bystander = startBystander(ctx, t, st.node)
	st.meter, st.read = startMeter(t, st.node), readBytes(t, st.node)
	return st
}

// attacker connects somebody who will misbehave.
func (st *stand) attacker(ctx context.Context, header ...string) (*peer, error) {
	p, err := dialPeer(ctx, st.node.HTTP, st.token, header...)
	if err != nil {
		return nil, err
	}
	if _, err := p.next(); err != nil { // "connection"
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// closed returns how many connections were counted as closed with a code.
func (st *stand) closed(ctx context.Context, t *testing.T, code ws.StatusCode) int {
	t.Helper()
	return metric(ctx, t, st.node, "pushd_edge_closed_total", fmt.Sprintf(`code="%d"`, code))
}

// check looks at the memory, which may have risen by so many bytes, and the
// bystander, which ends.
func (st *stand) check(t *testing.T, limit int64) {
	t.Helper()
	rise := st.meter.rise(t)
	if rise > limit {
		t.Errorf("memory rose by %s, more than %s", mib(rise), mib(limit))
	}
	count, slowest, err := st.bystander.stop()
	if err != nil || count == 0 || slowest > inLong(answerWithin, patience/2) {
		t.Errorf("the bystander got %d answers, the slowest after %s: %v", count, slowest, err)
	}
	t.Logf("memory rose by %s, %s were read; the bystander got %d answers, the slowest after %s",
		mib(rise), mib(readBytes(t, st.node)-st.read), count, slowest.Round(time.Millisecond))
}

// bystander pings by a request every 25 ms, as an honest client may.
type bystander struct {
	socket  *harness.Socket
	cancel  context.CancelFunc
	running sync.WaitGroup
	// of run
	count   int
	slowest time.Duration
	err     error
	// answered is closed with the first answer, or at the end.
	answered chan struct{}
	once     sync.Once
}

func startBystander(ctx context.Context, t *testing.T, n *harness.Node) *bystander {
	t.Helper()
	s, err := harness.Dial(ctx, n.WebSocket(), sign(t, "acme", "ann"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &bystander{socket: s, cancel: cancel, answered: make(chan struct{})}
	b.running.Go(func() { b.run(ctx) }) // stop ends it and waits
	t.Cleanup(func() {
		_, _, _ = b.stop()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bystander) run(ctx context.Context) {
	defer b.once.Do(func() { close(b.answered) })
	ticker := time.NewTicker(25 * time.Millisecond)
	defer ticker.Stop()
	for {
		began := time.Now()
		err := b.socket.SendText(`{"type":"ping"}`)
		if err == nil {
			_, err = b.socket.Expect(ctx, "pong")
		}
		if ctx.Err() != nil {
			return // whether this one came is not known
		}
		if err != nil {
			b.err = err
			return
		}
		b.count++
		b.slowest = max(b.slowest, time.Since(began))
		b.once.Do(func() { close(b.answered) })
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// stop ends the bystander, which has got one answer by then, and returns what it
// saw.
func (b *bystander) stop() (count int, slowest time.Duration, err error) {
	<-b.answered
	b.cancel()
	b.running.Wait()
	return b.count, b.slowest, b.err
}

// TestEndlessHeader: of a header line of 400 MiB the server reads no more than
// it takes to refuse it.
func TestEndlessHeader(t *testing.T) {
	const maxRead = 80 << 10
	attackers := inLong(50, 10)
	ctx := bounded(t, patience)
	st := newStand(ctx, t)
	attackAll(t, attackers, func() error { return st.endlessHeader(ctx) })
	read := readBytes(t, st.node) - st.read
	st.check(t, maxRise())
	// The bystander and this test say something too.
	if limit := int64(attackers)*maxRead + 1<<20; read > limit {
		t.Errorf("the server read %d bytes from %d clients, more than %d", read, attackers, limit)
	}
	if got := metric(ctx, t, st.node, "pushd_handshake_rejected_total", `reason="head_too_large"`); got != attackers {
		t.Errorf("%d heads were counted as too large, want %d", got, attackers)
	}
}

// endlessHeader returns nil if the header was refused, and soon.
func (st *stand) endlessHeader(ctx context.Context) error {
	conn, err := dialTCP(ctx, st.node.HTTP)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	answer := make(chan string, 1)
	// Ends when the server closes, or at the deadline.
	go func() {
		text, _ := io.ReadAll(conn) // It ends with a reset, for not all was read.
		answer <- string(text)
	}()
	head := strings.TrimSuffix(upgradeRequest(st.token), "\r\n")
	sent, err := pour(conn, head+"X-Long: ", strings.Repeat("x", chunkSize))
	got := <-answer
	switch {
	case err == nil:
		return fmt.Errorf("the server took %d bytes, answer %q", sent, got)
	case !strings.HasPrefix(got, "HTTP/1.1 431 "):
		return fmt.Errorf("after %d bytes: answer %q, %w", sent, got, err)
	}
	return nil
}

// TestDeflateBomb: half a MiB that would become half a GiB costs what a message
// may cost.
func TestDeflateBomb(t *testing.T) {
	attackers := inLong(50, 10)
	bomb, err := deflateBomb()
	if err != nil {
		t.Fatal(err)
	}
	if len(bomb) > maxMessage {
		t.Fatalf("the bomb has %d bytes, too large by itself", len(bomb))
	}
	ctx := bounded(t, patience)
	st := newStand(ctx, t)
	attackAll(t, attackers, func() error { return st.throwBomb(ctx, bomb) })
	// Of each attacker a message may wait as it came, and what was inflated of
	// it may be garbage, of which the race detector makes more.
	st.check(t, maxRise()+inLong[int64](2, 10)*int64(attackers)*maxMessage)
	if got := st.closed(ctx, t, 1009); got != attackers {
		t.Errorf("%d connections were counted as closed with 1009, want %d", got, attackers)
	}
}

func (st *stand) throwBomb(ctx context.Context, bomb []byte) error {
	p, err := st.attacker(ctx, "Sec-WebSocket-Extensions: permessage-deflate")
	if err != nil {
		return err
	}
	defer func() { _ = p.reset() }()
	if err := p.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	// A small one first, to see that it is really inflated.
	small, err := deflated(strings.NewReader(`{"type":"ping","id":"small"}`))
	if err != nil {
		return err
	}
	if err := p.write(compressedFrame(small)); err != nil {
		return err
	}
	if text, err := p.next(); err != nil || !bytes.Contains(text, []byte(`"id":"small"`)) {
		return fmt.Errorf("a small compressed message: %q, %w", text, err)
	}
	if err := p.write(compressedFrame(bomb)); err != nil {
		return err
	}
	if err := p.awaitClose(); !isClosed(err, 1009) {
		return fmt.Errorf("bomb: %w", err)
	}
	return nil
}

func compressedFrame(payload []byte) ws.Frame {
	f := ws.NewTextFrame(bytes.Clone(payload))
	f.Header.Rsv = ws.Rsv(true, false, false)
	return f
}

// flushTail is what permessage-deflate leaves out at the end of a message.
const flushTail = "\x00\x00\xff\xff"

// deflated compresses a message as permessage-deflate does.
func deflated(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, r); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(flushTail)), nil
}

// deflateBomb returns about half a MiB that inflates to 512 MiB of zeros. A
// MiB of them ends at a byte, so that it can be said again and again.
func deflateBomb() ([]byte, error) {
	one, err := deflated(bytes.NewReader(make([]byte, 1<<20)))
	if err != nil {
		return nil, err
	}
	whole := append(one, flushTail...)
	return bytes.TrimSuffix(bytes.Repeat(whole, 512), []byte(flushTail)), nil
}
