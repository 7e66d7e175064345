package handshake_test

import (
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
		{"plain behind those of the future", []string{name + "pushd.v1.json, pushd.v1.proto, pushd.plain"}, selected101},
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
		{"json of the future", []string{name + "pushd.v1.json"}, ""},
		{"proto of the future", []string{name + "pushd.v1.proto"}, ""},
		{"other case", []string{name + "Pushd.Plain"}, ""},
		{"plain as a token", []string{name + "pushd.jwt.pushd.plain"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHandshaker(t, handshake.DefaultOptions())
			text := upgradeHead().add(c.fields...).String()
			if c.answer == "" {
				expectRefusal(t, h, text, handshake.ReasonSubprotocol)
				return
			}
			if v := expectUpgrade(t, h, text); v.answer != c.answer {
				t.Errorf("answer %q", v.answer)
			}
		})
	}
}
