package message_test

import (
	"testing"

	"github.com/aegisx/pushd/internal/message"
)

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "1": "1", "\r\n": "  ", "{\n\"a\":\r1}": `{ "a": 1}`, `"\r\n"`: `"\r\n"`,
	} {
		if got := string(message.OneLine([]byte(text))); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
