package conformance_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
)

// row is one conversation. What the server is to say is all that it may say:
// a row that ends with no close frame is closed with 1000 by the client, which
// the server must answer, and behind the server's close frame the stream ends.
type row struct {
	name  string
	steps []step
	// cuts are the sizes of the client's writes, one connection each; 0: all
	// at once. Nil: at once, and byte by byte.
	cuts []int
	// offer overrides that of the suite, if agreed is set: what the server must
	// say to it.
	offer, agreed string
}

// step is what the client sends, and what the server must have said before the
// client goes on.
type step struct {
	send []byte
	want []answer
}

// noExtension is the agreed of a row whose offer must be declined.
const noExtension = "none"

// once is a row of one step.
func once(name string, send []byte, want ...answer) row {
	return row{name: name, steps: []step{{send, want}}}
}

// fails is a row in which the server must fail the connection with code.
func fails(name string, code int, send ...[]byte) row {
	return once(name, join(send...), hearClose(code))
}

// echoes is a row whose one frame must come back.
func echoes(name string, b0 byte, payload string) row {
	return once(name, frame(b0, payload), answer{op: b0 & 15, payload: payload})
}

// cutBy returns r with other cuts.
func (r row) cutBy(cuts ...int) row {
	r.cuts = cuts
	return r
}

// errLate says that the stream did not end in time.
var errLate = errors.New("after the close frame")

func (r row) run(t *testing.T, addr, offer string) {
	cuts := r.cuts
	if cuts == nil {
		cuts = []int{0, 1}
	}
	for _, cut := range cuts {
		err := r.play(t, addr, offer, cut)
		// Late once may be the machine, late each time is the server.
		for again := 0; again < 5 && errors.Is(err, errLate); again++ {
			err = r.play(t, addr, offer, cut)
		}
		if err != nil {
			t.Errorf("in writes of %d: %v", cut, err)
		}
	}
}

func (r row) play(t *testing.T, addr, offer string, cut int) error {
	t.Helper()
	want := deflateAnswer
	if r.agreed != "" {
		offer, want = r.offer, r.agreed
	}
	if offer == "" || want == noExtension {
		want = ""
	}
	c, agreed := dial(t, addr, offer)
	if agreed != want {
		return fmt.Errorf("agreed on %q, want %q", agreed, want)
	}
	steps := r.steps
	last := steps[len(steps)-1].want
	if len(last) == 0 || last[len(last)-1].op != closing&15 {
		steps = append(steps[:len(steps):len(steps)],
			step{frame(closing, closeBody(1000, "")), []answer{hearClose(1000)}})
	}
	for i, s := range steps {
		c.within(t, patience)
		c.send(t, s.send, cut)
		for j, want := range s.want {
			got, err := c.read()
			if err != nil {
				return fmt.Errorf("step %d, answer %d: %w, want %v", i, j, err, want)
			}
			if !want.deflated {
				got.deflated = false
			}
			if got != want {
				return fmt.Errorf("step %d, answer %d: got %v, want %v", i, j, got, want)
			}
		}
	}
	c.within(t, endsWithin)
	rest, err := io.ReadAll(c.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: no end after %s", errLate, endsWithin)
	}
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("after the close frame: %x, %w", rest, err)
	}
	return nil
}
