package handshake_test

import (
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/edge/handshake"
)

func TestSubprotocols(t *testing.T) {
	const name = "Sec-WebSocket-Protocol: "
	for _, c := range []struct {
		name   string
		fields []string
		answer string // "": refused
	}{
		{"none", nil, plain101},
		{"empty", []string{name}, plain101},
		{"two empty", []string{name, name + ","}, plain101},
		{"plain", []string{name + "pushd.plain"}, selected101},
		{"plain twice", []string{name + "pushd.plain, pushd.plain"}, selected101},
		{"plain with empty elements", []string{name + ", pushd.plain ,,"}, selected101},
		{"plain among unknown ones", []string{name + "chat, pushd.plain, superchat"}, selected101},
		{"json", []string{name + "pushd.v1.json"}, selected("pushd.v1.json")},
		{"proto", []string{name + "pushd.v1.proto"}, selected("pushd.v1.proto")},
		{"json first", []string{name + "pushd.v1.json, pushd.v1.proto, pushd.plain"}, selected("pushd.v1.json")},
		{"proto first", []string{name + "pushd.v1.proto, pushd.plain, pushd.v1.json"}, selected("pushd.v1.proto")},
		{"plain first", []string{name + "pushd.plain, pushd.v1.json"}, selected101},
		{"json behind unknown ones", []string{name + "pushd.v2.json, chat, pushd.v1.json, pushd.plain"}, selected("pushd.v1.json")},
		{"proto in the first field", []string{name + "pushd.v1.proto", name + "pushd.v1.json"}, selected("pushd.v1.proto")},
		{"token and json", []string{name + "pushd.jwt.x, pushd.v1.json"}, selected("pushd.v1.json")},
		{"two tokens and json", []string{name + "pushd.jwt.x, pushd.jwt.y, pushd.v1.json"}, selected("pushd.v1.json")},
		{"plain in the second field", []string{name + "chat", name + "pushd.plain"}, selected101},
		{"plain in the first field", []string{name + "pushd.plain", name + "chat"}, selected101},
		{"plain and an empty field", []string{name, name + "pushd.plain", name}, selected101},
		{"token and plain", []string{name + "pushd.jwt.x, pushd.plain"}, selected101},
		{"plain and token", []string{name + "pushd.plain, pushd.jwt.x"}, selected101},
		{"token and plain in two fields", []string{name + "pushd.jwt.x", name + "pushd.plain"}, selected101},
		{"name in lower case", []string{"sec-websocket-protocol: pushd.plain"}, selected101},
		{"name in upper case", []string{"SEC-WEBSOCKET-PROTOCOL: pushd.plain"}, selected101},

		{"token alone", []string{name + "pushd.jwt.x"}, ""},
		{"two tokens", []string{name + "pushd.jwt.x, pushd.jwt.y"}, ""},
		{"empty token alone", []string{name + "pushd.jwt."}, ""},
		{"unknown", []string{name + "chat"}, ""},
		{"unknown in two fields", []string{name + "chat", name + "superchat"}, ""},
		{"unknown and token", []string{name + "chat, pushd.jwt.x"}, ""},
		{"another version", []string{name + "pushd.v2.json"}, ""},
		{"no format", []string{name + "pushd.v1"}, ""},
		{"none by its name", []string{name + "none"}, ""},
		{"other case", []string{name + "Pushd.Plain"}, ""},
		{"plain as a token", []string{name + "pushd.jwt.pushd.plain"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHandshaker(t, handshake.DefaultOptions())
			text := upgradeHead().add(c.fields...).String()
			if c.answer == "" {
				v := expectRefusal(t, h, text, handshake.ReasonSubprotocol)
				for d := handshake.Plain; d < handshake.Dialects; d++ {
					if !strings.Contains(v.answer, d.String()) {
						t.Errorf("%s is not named in %q", d, v.answer)
					}
				}
				return
			}
			if v := expectUpgrade(t, h, text); v.answer != c.answer {
				t.Errorf("answer %q", v.answer)
			}
		})
	}
}

// selected is the 101 that takes up this subprotocol.
func selected(name string) string { return strings.Replace(selected101, "pushd.plain", name, 1) }
