package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"

	"github.com/aegisx/pushd/internal/message"
)

// fingerprintSize is how much of the hash is compared.
const fingerprintSize = 16

// fingerprint tells what was published under a key: the target, the type and the
// payload. Of a client's message it is what the client gave, and who it was: when
// it was sent, and on which connection, may differ when it is sent again.
func fingerprint(m *message.Message) []byte {
	h := sha256.New()
	field := func(b []byte) {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(b)))
		_, _ = h.Write(size[:]) // Never fails.
		_, _ = h.Write(b)
	}
	field([]byte(publishSubject(m.Target)))
	field([]byte(m.NotificationType))
	text := m.Payload
	if m.FromClient {
		var p struct {
			Data struct {
				Message json.RawMessage `json:"message"`
				Sender  struct {
					ID string `json:"id"`
				} `json:"sender"`
			} `json:"data"`
		}
		if json.Unmarshal(m.Payload, &p) == nil && p.Data.Message != nil {
			field([]byte("client"))
			field([]byte(p.Data.Sender.ID))
			text = p.Data.Message
		}
	}
	field(text)
	return h.Sum(nil)[:fingerprintSize]
}
