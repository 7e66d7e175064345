package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/aegisx/pushd/internal/message"
)

// errNoAnswerer says that nobody serves a subject of JetStream.
var errNoAnswerer = errors.New("nobody answers for JetStream")

// statusNoResponders is what the server answers for a subject without interest.
const statusNoResponders = "503"

// asker is the second connection to NATS: for what is stored, asked and replayed.
// Live messages never stand behind its traffic. All answers come by one
// subscription; a goroutine hands them to who waits.
type asker struct {
	// Set once.
	nc     *nats.Conn
	in     chan *nats.Msg
	prefix string // of reply subjects
	closed chan struct{}
	wg     sync.WaitGroup
	// connected is ours, since the client's own answer can wait for a write.
	connected atomic.Bool

	// Guarded by mu.
	mu    sync.Mutex
	next  uint64
	calls map[uint64]replies
}

// replies takes the answers to one request.
type replies interface {
	// reply takes an answer and reports whether it is the last. It must not block.
	reply(msg *nats.Msg) (last bool)
	// lost says that no answer comes any more. It must not block.
	lost()
}

// dialAsker connects. up is called when the connection is back.
func dialAsker(o Options, srv *embedded, up func(), log *slog.Logger) (*asker, error) {
	a := &asker{
		in:     make(chan *nats.Msg, inboundDepth),
		prefix: nats.NewInbox() + ".",
		closed: make(chan struct{}),
		calls:  make(map[uint64]replies),
	}
	a.connected.Store(true)
	nc, err := connect(o, srv, "pushd "+o.NodeName+" history",
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats connection of the history lost", "error", err)
			}
			a.connected.Store(false)
			a.loseAll()
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			a.connected.Store(true)
			up()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("nats client error", "connection", "history", "error", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(a.closed) }),
	)
	if err != nil {
		return nil, err
	}
	a.nc = nc
	if err := a.hear(a.prefix + "*"); err != nil {
		nc.Close()
		<-a.closed
		return nil, err
	}
	return a, nil
}

// hear subscribes one more subject that ends in a.in.
func (a *asker) hear(subject string) error {
	if _, err := a.nc.ChanSubscribe(subject, a.in); err != nil {
		return fmt.Errorf("subscribe %q: %w", subject, err)
	}
	return nil
}

// run hands answers over until close; other gets what is no answer.
func (a *asker) run(other func(*nats.Msg)) {
	for {
		select {
		case msg := <-a.in:
			a.take(msg, other)
		case <-a.closed:
			return
		}
	}
}

func (a *asker) take(msg *nats.Msg, other func(*nats.Msg)) {
	digits, ok := strings.CutPrefix(msg.Subject, a.prefix)
	if !ok {
		other(msg)
		return
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	c := a.calls[id]
	a.mu.Unlock()
	if c != nil && c.reply(msg) {
		a.forget(id)
	}
}

// send publishes a request whose answers c takes, until it is forgotten.
func (a *asker) send(msg *nats.Msg, c replies) (id uint64, err error) {
	a.mu.Lock()
	a.next++
	id = a.next
	a.calls[id] = c
	a.mu.Unlock()
	msg.Reply = a.prefix + strconv.FormatUint(id, 10)
	switch err = a.nc.PublishMsg(msg); {
	case err == nil:
		return id, nil
	case errors.Is(err, nats.ErrMaxPayload):
		err = message.ErrTooLarge
	default:
		err = errors.Join(message.ErrUnavailable, err)
	}
	a.forget(id)
	return 0, err
}

func (a *asker) forget(id uint64) {
	a.mu.Lock()
	delete(a.calls, id)
	a.mu.Unlock()
}

// loseAll ends all calls: their answers went to a connection that is gone.
func (a *asker) loseAll() {
	a.mu.Lock()
	calls := a.calls
	a.calls = make(map[uint64]replies)
	a.mu.Unlock()
	for _, c := range calls {
		c.lost()
	}
}

// close ends the connection and waits.
func (a *asker) close() {
	a.nc.Close()
	<-a.closed
	a.loseAll()
	a.wg.Wait()
}

// call collects answers for who asked.
type call struct {
	answers chan *nats.Msg // closed when no more come
	// many says that there is more than one, and that the last has a status.
	many bool
	end  sync.Once
}

func (c *call) reply(msg *nats.Msg) bool {
	last := !c.many || msg.Header.Get(headerStatus) != ""
	select {
	case c.answers <- msg:
	default:
		// The server sent more than it was asked for.
		last = true
	}
	if last {
		c.lost()
	}
	return last
}

func (c *call) lost() { c.end.Do(func() { close(c.answers) }) }

// ask sends one request and returns its answers: one, or with most > 1 as many as
// come until one has a status, which is the last of them. The wait is bounded by
// ctx and by timeout.
func (a *asker) ask(ctx context.Context, subject string, request any, most int, timeout time.Duration) ([]*nats.Msg, error) {
	var data []byte
	if request != nil {
		var err error
		if data, err = json.Marshal(request); err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := &call{answers: make(chan *nats.Msg, most), many: most > 1}
	id, err := a.send(&nats.Msg{Subject: subject, Data: data}, c)
	if err != nil {
		return nil, err
	}
	defer a.forget(id)
	var got []*nats.Msg
	for {
		select {
		case msg, ok := <-c.answers:
			switch {
			case ok && len(msg.Data) == 0 && msg.Header.Get(headerStatus) == statusNoResponders:
				return nil, errors.Join(message.ErrUnavailable, errNoAnswerer)
			case ok:
				got = append(got, msg)
			case len(got) == 0, c.many && got[len(got)-1].Header.Get(headerStatus) == "":
				return nil, fmt.Errorf("the connection broke: %w", message.ErrUnavailable)
			default:
				return got, nil
			}
		case <-ctx.Done():
			return nil, errors.Join(message.ErrUnavailable, ctx.Err())
		}
	}
}
