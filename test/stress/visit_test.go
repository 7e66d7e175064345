package stress_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"
)

// visitTime bounds one connection of the churn.
const visitTime = 30 * time.Second

// ending is a way in which a connection ends.
type ending int

const (
	// early: reset after the request, before the answer.
	early ending = iota
	// unread: reset after the upgrade, with the first messages on their way.
	unread
	// reset: at once, whatever is on its way.
	reset
	// gone: closed without a close frame.
	gone
	// torn: reset in the middle of a frame.
	torn
	// half: only the sending side is closed.
	half
	// clean: with a close frame, which is answered.
	clean

	endings = int(clean) + 1
)

func (e ending) String() string {
	return [endings]string{"early", "unread", "reset", "gone", "torn", "half", "clean"}[e]
}

// visit is one connection of the churn: what it does and how it ends is drawn.
type visit struct {
	churn        *churn
	tenant, user int
	ending       ending
	// own are the marks of its tenant, its user and itself.
	own  [3]string
	peer *peer
}

func newVisit(c *churn, n int64) *visit {
	tenant, user := rand.IntN(churnTenants), rand.IntN(churnUsers)
	return &visit{
		churn: c, tenant: tenant, user: user, ending: ending(rand.IntN(endings)),
		own: [3]string{tenantMark(tenant), userMark(tenant, user), connectionMark(tenant, user, n)},
	}
}

// run returns what the server did wrong.
func (v *visit) run(ctx context.Context) error {
	v.churn.ended[v.ending].Add(1)
	conn, err := dialTCP(ctx, v.churn.node.HTTP)
	if err != nil {
		return err
	}
	v.peer = newPeer(conn)
	defer func() { _ = v.peer.close() }()
	if err := conn.SetDeadline(time.Now().Add(visitTime)); err != nil {
		return err
	}
	token := v.churn.tokens[v.tenant][v.user]
	if _, err := io.WriteString(conn, upgradeRequest(token)); err != nil {
		return err
	}
	if v.ending == early {
		return v.peer.reset()
	}
	if err := v.peer.readHead(); err != nil {
		return err
	}
	if v.ending == unread {
		return v.peer.reset()
	}
	if err := v.stay(); err != nil {
		return fmt.Errorf("%s: %w", v.ending, err)
	}
	if err := v.end(); err != nil {
		return fmt.Errorf("%s: %w", v.ending, err)
	}
	return nil
}

// stay does some of what clients do.
func (v *visit) stay() error {
	if err := v.await([]byte(`{"type":"connection",`)); err != nil {
		return err
	}
	for range rand.IntN(3) {
		if err := v.peer.request("ping", v.own[2], nil); err != nil {
			return err
		}
		if err := v.await([]byte(`{"type":"pong","id":"` + v.own[2] + `"`)); err != nil {
			return err
		}
		v.churn.pongs.Add(1)
	}
	if rand.IntN(2) == 0 {
		if err := v.talk(); err != nil {
			return err
		}
	}
	switch rand.IntN(20) {
	case 0, 1: // until the tenant's next broadcast
		return v.await([]byte(`{"type":"news",`))
	case 2: // until the user's next notification
		return v.await([]byte(`{"type":"notification",`))
	case 3, 4, 5: // with answers on their way
		return errors.Join(v.peer.request("ping", v.own[2], nil), v.peer.request("no such type", v.own[2], nil))
	default:
		return nil
	}
}

// talk joins the channel of the user's connections and says something there.
func (v *visit) talk() error {
	channel := map[string]any{"channel": "tenant:" + tenantName(v.tenant) + ":" + v.own[1]}
	if err := v.peer.request("join_channel", v.own[2], channel); err != nil {
		return err
	}
	if err := v.await([]byte(`{"type":"channel_joined","id":"` + v.own[2] + `"`)); err != nil {
		return err
	}
	channel["message"] = v.own[1]
	return v.peer.request("send_message", "", channel)
}

// await reads until a message holds what. All that comes is checked.
func (v *visit) await(what []byte) error {
	for {
		text, err := v.next()
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		if bytes.Contains(text, what) {
			return nil
		}
	}
}

// next reads a message, checks and counts it.
func (v *visit) next() ([]byte, error) {
	text, err := v.peer.next()
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(text, []byte(`{"type":"notification",`)):
		v.churn.notifications.Add(1)
	case bytes.HasPrefix(text, []byte(`{"type":"news",`)):
		v.churn.broadcasts.Add(1)
	case bytes.HasPrefix(text, []byte(`{"type":"channel_message",`)):
		v.churn.messages.Add(1)
	}
	return text, checkMarks(text, v.own[:]...)
}

// end ends the connection.
func (v *visit) end() error {
	switch v.ending {
	case gone:
		return v.peer.close()
	case torn:
		frame := clientFrame(true, ws.OpText, `{"type":"ping"}`)
		if _, err := io.WriteString(v.peer.conn, frame[:1+rand.IntN(len(frame)-1)]); err != nil {
			return err
		}
		return v.peer.reset()
	case half:
		if err := v.peer.conn.CloseWrite(); err != nil {
			return err
		}
		err := v.readToEnd()
		var wrong *wrongError
		if errors.As(err, &wrong) || isTimeout(err) {
			return err
		}
		return nil
	case clean:
		if err := v.peer.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))); err != nil {
			return err
		}
		if err := v.readToEnd(); !isClosed(err, ws.StatusNormalClosure) {
			return fmt.Errorf("close answered by %w", err)
		}
		return nil
	case reset:
		return v.peer.reset()
	default:
		return errors.New("no such ending")
	}
}

// readToEnd checks all that comes until the connection ends, and returns how it
// does.
func (v *visit) readToEnd() error {
	for {
		if _, err := v.next(); err != nil {
			return err
		}
	}
}

// isTimeout reports whether the connection did not end in time.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
