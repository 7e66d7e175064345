package frame

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

// maxKeptBuffer is what a buffer may have to be kept for the next message.
const maxKeptBuffer = 64 << 10

// Inflater decompresses the messages of clients that have negotiated
// permessage-deflate without context takeover. One serves all parsers of a
// loop: it must not be used concurrently.
type Inflater struct {
	reader io.Reader // a flate.Reader; nil until the first use
	in     bytes.Reader
	tail   bytes.Reader
	source io.Reader
	out    bytes.Buffer
}

// NewInflater makes an Inflater, which takes memory with its first message.
func NewInflater() *Inflater { return &Inflater{} }

// inflateTail is what the sender left out, and the end of the stream.
const inflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate returns what payload holds, which stays valid until the next call.
// More than limit bytes are refused while they come, so a message that would
// grow huge takes no more memory than one that is too large.
func (f *Inflater) inflate(payload []byte, limit int) ([]byte, error) {
	if f.out.Cap() > maxKeptBuffer {
		f.out = bytes.Buffer{}
	}
	f.out.Reset()
	f.in.Reset(payload)
	f.tail.Reset([]byte(inflateTail))
	f.source = io.MultiReader(&f.in, &f.tail)
	if f.reader == nil {
		f.reader = flate.NewReader(f.source)
	} else if err := f.reset(); err != nil {
		return nil, err
	}
	n, err := io.Copy(&f.out, io.LimitReader(f.reader, int64(limit)+1))
	switch {
	case n > int64(limit):
		return nil, tooBig("message is too large")
	case err != nil:
		return nil, badText("compressed message is damaged")
	default:
		return f.out.Bytes(), nil
	}
}

func (f *Inflater) reset() error {
	r, ok := f.reader.(flate.Resetter)
	if !ok {
		return errors.New("inflater can't be used again")
	}
	return r.Reset(f.source, nil) //nolint:wrapcheck // It never fails.
}
