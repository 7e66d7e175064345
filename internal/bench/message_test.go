package bench

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestMessageRoundTrip(t *testing.T) {
	for _, m := range []Message{
		{Bytes: MinPayload},
		{Seq: 1, Due: time.Nanosecond, Bytes: 128},
		{Seq: 1<<64 - 1, Due: 1<<63 - 1, Bytes: 4096},
	} {
		text := m.JSON()
		if len(text) != m.Bytes || !json.Valid([]byte(text)) {
			t.Errorf("%+v is %d bytes: %s", m, len(text), text)
		}
		stamp := m.Stamp()
		if got := text[StampOffset:][:len(stamp)]; got != string(stamp[:]) {
			t.Errorf("at StampOffset is %q, not %q", got, stamp)
		}
		seq, due, ok := readStamp([]byte(`{"type":"bench","data":` + text + "}"))
		if !ok || seq != m.Seq || due != m.Due {
			t.Errorf("read %d %d %t from %s", seq, due, ok, text)
		}
	}
}

func TestReadStampOfOthers(t *testing.T) {
	for _, text := range []string{
		"", `{"type":"pong"}`, `{"n":"12`, `{"n":"` + strings.Repeat("G", stampSize) + `"}`, `{"n":"` + strings.Repeat("0", stampSize-1),
	} {
		if _, _, ok := readStamp([]byte(text)); ok {
			t.Errorf("found a stamp in %q", text)
		}
	}
}
