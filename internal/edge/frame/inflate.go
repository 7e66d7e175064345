package frame

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/flate"
)

const (
	// maxKeptBuffer is what a buffer may have to be kept for the next message.
	maxKeptBuffer = 64 << 10
	// maxStreams bounds the DEFLATE streams of one message. More than one is
	// allowed (RFC 7692, section 7.2.1) and nobody sends it.
	maxStreams = 16
)

// inflateTail is what the sender left out, and the end of the stream.
const inflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// Inflater decompresses the messages of clients that have negotiated
// permessage-deflate without context takeover. One serves all parsers of a
// loop: it must not be used concurrently.
type Inflater struct {
	reader io.Reader // a flate.Reader; nil until the first use
	in     source
	out    bytes.Buffer
}

// NewInflater makes an Inflater, which takes memory with its first message.
func NewInflater() *Inflater { return &Inflater{} }

// source is a payload and what its sender left out. It gives single bytes, so
// that a reader takes none beyond the end of its stream.
type source struct{ payload, tail bytes.Reader }

func (s *source) reset(payload []byte) {
	s.payload.Reset(payload)
	s.tail.Reset([]byte(inflateTail))
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if s.payload.Len() > 0 {
		return s.payload.Read(p) //nolint:wrapcheck // It never fails.
	}
	return s.tail.Read(p) //nolint:wrapcheck // io.EOF, as it must be.
}

// ReadByte implements io.ByteReader.
func (s *source) ReadByte() (byte, error) {
	if s.payload.Len() > 0 {
		return s.payload.ReadByte() //nolint:wrapcheck // It never fails.
	}
	return s.tail.ReadByte() //nolint:wrapcheck // io.EOF, as it must be.
}

// inflate returns what payload holds, which stays valid until the next call.
// More than limit bytes are refused while they come, so a message that would
// grow huge takes no more memory than one that is too large.
func (f *Inflater) inflate(payload []byte, limit int) ([]byte, error) {
	if f.out.Cap() > maxKeptBuffer {
		f.out = bytes.Buffer{}
	}
	f.out.Reset()
	f.in.reset(payload)
	for range maxStreams {
		if err := f.begin(); err != nil {
			return nil, err
		}
		_, err := io.Copy(&f.out, io.LimitReader(f.reader, int64(limit-f.out.Len())+1))
		switch {
		case f.out.Len() > limit:
			return nil, tooBig("message is too large")
		case err != nil:
			return nil, badText("compressed message is damaged")
		case f.in.payload.Len() == 0:
			return f.out.Bytes(), nil
		}
		// The stream has ended and the payload has not: another one follows.
	}
	return nil, badText("compressed message is damaged")
}

// begin makes the reader ready for a stream.
func (f *Inflater) begin() error {
	if f.reader == nil {
		f.reader = flate.NewReader(&f.in)
		return nil
	}
	r, ok := f.reader.(flate.Resetter)
	if !ok {
		return errors.New("inflater can't be used again")
	}
	return r.Reset(&f.in, nil) //nolint:wrapcheck // It never fails.
}
