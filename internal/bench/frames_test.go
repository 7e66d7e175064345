package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// scanAll feeds reads to a scanner and returns what it found, as text.
func scanAll(reads ...[]byte) (found []string, err error) {
	var s scanner
	for _, p := range reads {
		for {
			f, rest, ok, err := s.next(p)
			if err != nil {
				return found, err
			}
			if !ok {
				break
			}
			found = append(found, fmt.Sprintf("%d %s", f.op, f.head))
			p = rest
		}
	}
	return found, nil
}

func wire(t testing.TB, frames ...ws.Frame) []byte {
	t.Helper()
	var all []byte
	for _, f := range frames {
		text, err := ws.CompileFrame(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	return all
}

// sample holds every form of length, and frames without a payload between.
func sample(t testing.TB) []byte {
	t.Helper()
	text := func(n int) ws.Frame { return ws.NewTextFrame([]byte(strings.Repeat("0123456789", n/10+1)[:n])) }
	return wire(t, text(5), text(0), ws.NewPingFrame([]byte("are you there")), text(125), text(126), text(keep),
		text(keep+1), text(0), text(1<<16), ws.NewCloseFrame(ws.NewCloseFrameBody(4000, "bye")))
}

func TestScannerWhereverReadsCut(t *testing.T) {
	all := sample(t)
	want, err := scanAll(all)
	if err != nil || len(want) != 10 {
		t.Fatalf("in one read: %d frames, %v", len(want), err)
	}
	if want[0] != "1 01234" || want[1] != "1 " || want[2] != "9 are you there" {
		t.Fatalf("in one read: %q", want[:3])
	}
	for i, size := range []int{5, 0, 13, 125, 126, keep, keep, 0, keep, 5} {
		if got := len(want[i]) - len("1 "); got != size {
			t.Errorf("frame %d: kept %d bytes, want %d", i, got, size)
		}
	}
	for cut := range 1200 {
		got, err := scanAll(all[:cut], all[cut:])
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("cut at %d: %v, %d frames", cut, err, len(got))
		}
	}
	for _, size := range []int{1, 2, 3, 7, 64, 1000, 4096} {
		got, err := scanAll(slices.Collect(slices.Chunk(all, size))...)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("reads of %d: %v, %d frames", size, err, len(got))
		}
	}
}

func TestScannerRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		want error
	}{
		{"a masked frame", "\x81\x80mask", errMasked},
		{"a reserved bit", "\xc1\x00", errReserved},
		{"the first fragment", "\x01\x00", errFragmented},
		{"the last fragment", "\x80\x00", errFragmented},
		{"a length with the top bit", "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", errLength},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := scanAll([]byte(c.text)); !errors.Is(err, c.want) {
				t.Errorf("in one read: %v, want %v", err, c.want)
			}
			if _, err := scanAll(slices.Collect(slices.Chunk([]byte(c.text), 1))...); !errors.Is(err, c.want) {
				t.Errorf("byte by byte: %v, want %v", err, c.want)
			}
		})
	}
}

func TestScannerDoesNotAllocate(t *testing.T) {
	p := wire(t, ws.NewTextFrame([]byte(Message{Bytes: 128}.JSON())))
	var s scanner
	if n := testing.AllocsPerRun(100, func() { _, _, _, _ = s.next(p) }); n != 0 {
		t.Errorf("%g allocations for a whole frame", n)
	}
}

func FuzzScanner(f *testing.F) {
	f.Add(sample(f)[:600], 7)
	f.Add([]byte("\x81\x7e\x00"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		if size < 1 {
			return
		}
		whole, wholeErr := scanAll(text)
		cut, cutErr := scanAll(slices.Collect(slices.Chunk(text, size))...)
		if !slices.Equal(whole, cut) || !errors.Is(cutErr, wholeErr) {
			t.Errorf("in one read %q %v, in reads of %d %q %v", whole, wholeErr, size, cut, cutErr)
		}
	})
}
