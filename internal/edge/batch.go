package edge

import (
	"bytes"
	"iter"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

// maxBatch bounds the requests of one frame.
const maxBatch = 64

// errBatch refuses a frame as a whole.
var errBatch = &fault{codeBadRequest, "At most 64 requests at once"}

// requests splits what a frame holds into the requests of dialect d, each of
// them not yet read. A frame that can't be split, or holds too many, is a fault
// as a whole.
func requests(d handshake.Dialect, payload []byte) ([][]byte, error) {
	var pieces [][]byte
	each := lines(payload)
	switch d {
	case handshake.Plain:
		return [][]byte{payload}, nil
	case handshake.Proto:
		each = delimited(payload)
	}
	for piece, err := range each {
		switch {
		case err != nil:
			return nil, errInvalidFormat
		case len(pieces) == maxBatch:
			return nil, errBatch
		}
		pieces = append(pieces, piece)
	}
	if len(pieces) == 0 {
		return nil, errInvalidFormat
	}
	return pieces, nil
}

// lines yields the lines that hold anything but white space.
func lines(text []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for line := range bytes.SplitSeq(text, []byte("\n")) {
			if line = bytes.TrimSpace(line); len(line) > 0 && !yield(line, nil) {
				return
			}
		}
	}
}

// parse reads one request of dialect d.
func parse(d handshake.Dialect, piece []byte) (command, error) {
	if d == handshake.Proto {
		return parseProto(piece)
	}
	return parseCommand(piece)
}

// batchLocked carries out the requests of one frame, of which the first is paid
// for.
func (c *conn) batchLocked(payload []byte) error {
	pieces, err := requests(c.dialect, payload)
	if err != nil {
		return c.answerLocked(command{}, err)
	}
	l := c.loop
	for i, piece := range pieces {
		if i > 0 {
			l.messagesIn++
		}
		if i > 0 && !c.limiter.allow(l.hub.rate, l.clock, 1) {
			if c.limiter.flooding() {
				return &closeFault{closeRateLimited}
			}
			c.refusePieceLocked(piece)
		} else if err := c.requestLocked(piece); err != nil {
			return err
		}
		if err := c.stateErr(); err != nil {
			return err
		}
	}
	return nil
}

// requestLocked carries out one request.
func (c *conn) requestLocked(piece []byte) error {
	cmd, err := parse(c.dialect, piece)
	if err == nil {
		err = c.dispatchLocked(cmd)
	}
	return c.answerLocked(cmd, err)
}

// refuseBatchLocked refuses a whole frame that came too fast.
func (c *conn) refuseBatchLocked(payload []byte) {
	pieces, err := requests(c.dialect, payload)
	if err != nil {
		c.refuseLocked(command{}, errTooFast)
		return
	}
	for _, piece := range pieces {
		c.refusePieceLocked(piece)
	}
}

// refusePieceLocked refuses one request that came too fast. It is read only for
// its id, if it is small.
func (c *conn) refusePieceLocked(piece []byte) {
	var cmd command
	if len(piece) <= maxEchoed {
		cmd, _ = parse(c.dialect, piece)
	}
	c.refuseLocked(cmd, errTooFast)
}

// errTooFast refuses what is over the rate.
var errTooFast = &fault{codeRateLimited, textRateLimited}
