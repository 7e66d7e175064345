package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

// TestUnfinishedMessage: a client may be inside one message for 30 s, whatever
// else it sends meanwhile. One message after the other is as good as none.
func TestUnfinishedMessage(t *testing.T) {
	bytesOf := func(frames ...ws.Frame) (wire []byte) {
		for _, f := range frames {
			b, err := ws.CompileFrame(ws.MaskFrame(f))
			if err != nil {
				t.Fatal(err)
			}
			wire = append(wire, b...)
		}
		return wire
	}
	begin := ws.NewFrame(ws.OpText, false, []byte(`{"type":`))
	finish := ws.NewFrame(ws.OpContinuation, true, []byte(`"ping"}`))
	pong := ws.NewPongFrame(nil)
	for name, c := range map[string]struct {
		// first is sent at once, then each every 10 s, so many times.
		first, each []byte
		times       int
		// closed is when 4102 must come, 0: not within a second after the last.
		closed time.Duration
	}{
		"a fragment, then pongs":         {bytesOf(begin), bytesOf(pong), 6, 30 * time.Second},
		"half a frame, byte by byte":     {bytesOf(begin)[:1], bytesOf(begin)[1:2], 1, 30 * time.Second},
		"finished in time":               {bytesOf(begin), bytesOf(finish, begin), 30, 0},
		"the last of many":               {bytesOf(begin), append(bytesOf(finish, begin), bytesOf(pong)...), 3, 60 * time.Second},
		"a pong in two parts, no others": {bytesOf(pong)[:3], append(bytesOf(pong)[3:], bytesOf(pong)[:3]...), 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				client, closed := dialPipe(t, newPipeHub(t, nil))
				_, err := client.Write(c.first)
				for n := 0; n < c.times && err == nil; n++ {
					timer := time.NewTimer(10 * time.Second)
					<-timer.C
					_, err = client.Write(c.each)
				}
				wait := time.Second
				if c.closed > 0 {
					wait = time.Minute
				} else if err != nil {
					t.Fatal(err)
				}
				timer := time.NewTimer(wait)
				defer timer.Stop()
				select {
				case got := <-closed:
					took := got.at.Sub(began)
					if c.closed == 0 || took < c.closed || took > c.closed+2*tick {
						t.Errorf("closed after %s, want %s", took, c.closed)
					}
					if got.code != closePingTimeout || got.reason != reasonMessageTimeout {
						t.Errorf("closed with %d %q", got.code, got.reason)
					}
				case <-timer.C:
					if c.closed > 0 {
						t.Error("not closed")
					}
				}
			})
		})
	}
}
