package handshake

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// chunks gives data in pieces of the same size.
type chunks struct {
	data []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data[:min(c.size, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

// FuzzHead: the head is found where it ends and nowhere else, whatever the
// pieces and the size of the first buffer.
func FuzzHead(f *testing.F) {
	for _, s := range []string{
		"", "\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "a\r\nb\r\nc\r\n\r\nrest", "a\n\n", "a\r\r\n", "a\r\nb\x00\r\n\r\n", "a\r\n\r", "\r\na\r\n\r\n",
	} {
		f.Add([]byte(s), uint8(1), uint8(3))
		f.Add([]byte(s), uint8(255), uint8(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, size, room uint8) {
		const maxBytes, maxHeaders = 600, 4
		read := func(size int, buf []byte) ([]byte, int, error) {
			h := headReader{maxBytes: maxBytes, maxHeaders: maxHeaders}
			return h.read(&chunks{bytes.Clone(data), size}, buf)
		}
		got, end, err := read(int(size)+1, make([]byte, 0, room))
		if len(got) > maxBytes || !bytes.HasPrefix(data, got) {
			t.Fatalf("read %d bytes: %q", len(got), got)
		}
		got1, end1, err1 := read(1, nil)
		if end1 != end || (err1 == nil) != (err == nil) || err != nil && err1.Error() != err.Error() {
			t.Fatalf("%d, %v; byte by byte %d, %v", end, err, end1, err1)
		}
		var rej *Rejection
		switch {
		case err == nil:
			head := got[:end]
			if len(got1) != end || bytes.Index(data, []byte("\r\n\r\n"))+4 != end {
				t.Fatalf("ends at %d", end)
			}
			lines := bytes.Split(head[:end-4], []byte("\r\n"))
			if len(lines) > maxHeaders+1 || len(lines[0]) == 0 {
				t.Fatalf("%d lines: %q", len(lines), lines)
			}
			for _, line := range lines {
				if bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
					t.Fatalf("control character in %q", line)
				}
			}
		case errors.As(err, &rej):
			if rej.Reason == ReasonTooLarge && len(got) != maxBytes {
				t.Fatalf("too large after %d bytes", len(got))
			}
		case !errors.Is(err, io.EOF) || len(got) != len(data) || bytes.Contains(data, []byte("\r\n\r\n")):
			t.Fatalf("error %v after %d bytes", err, len(got))
		}
	})
}

// TestHeadReaderGrows: a small buffer is left alone by a head that needs more.
func TestHeadReaderGrows(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	data := []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + string(bytes.Repeat([]byte("x"), 5000)) + "\r\n\r\n")
	small := make([]byte, 0, len(head))
	h := headReader{maxBytes: 8 << 10, maxHeaders: 64}
	got, end, err := h.read(bytes.NewReader(data), small)
	if err != nil || end != len(data) || !bytes.Equal(got, data) || cap(got) > 8<<10 {
		t.Errorf("read %d of %d, capacity %d: %v", end, len(data), cap(got), err)
	}
	h = headReader{maxBytes: 8 << 10, maxHeaders: 64}
	got, end, err = h.read(bytes.NewReader([]byte(head)), small)
	if err != nil || end != len(head) || &got[0] != &small[:1][0] {
		t.Errorf("a head that fits was copied: %d, %v", end, err)
	}
}

// TestLastBytesWithError: io.Reader may give both at once.
func TestLastBytesWithError(t *testing.T) {
	const head = "GET / HTTP/1.1\r\n\r\n"
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"complete": {head, nil},
		"not yet":  {head[:len(head)-1], broken},
	} {
		h := headReader{maxBytes: 512, maxHeaders: 1}
		_, end, err := h.read(both{c.data, broken}, nil)
		if !errors.Is(err, c.want) || (end == len(head)) != (c.want == nil) {
			t.Errorf("%s: %d, %v", name, end, err)
		}
	}
}

type both struct {
	data string
	err  error
}

func (b both) Read(p []byte) (int, error) { return copy(p, b.data), b.err }
