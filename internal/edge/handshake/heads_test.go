package handshake_test

import (
	"slices"
	"strings"
)

const (
	// sampleKey and sampleAccept are the pair of RFC 6455 section 1.3.
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// head is a request head to be edited. Each edit returns a copy.
type head struct {
	line   string
	fields []string
}

// upgradeHead is the shortest head that is upgraded.
func upgradeHead() head {
	return head{
		line: "GET /ws HTTP/1.1",
		fields: []string{
			"Host: example.com",
			"Upgrade: websocket",
			"Connection: Upgrade",
			"Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: " + sampleKey,
		},
	}
}

// request changes the request line.
func (h head) request(line string) head {
	h.line = line
	return h
}

// set puts fields in the place of those with the same names.
func (h head) set(fields ...string) head {
	for _, f := range fields {
		name, _, _ := strings.Cut(f, ":")
		h = h.drop(name).add(f)
	}
	return h
}

// add appends fields as they are.
func (h head) add(fields ...string) head {
	h.fields = append(slices.Clone(h.fields), fields...)
	return h
}

// drop removes the fields with these names.
func (h head) drop(names ...string) head {
	h.fields = slices.DeleteFunc(slices.Clone(h.fields), func(f string) bool {
		name, _, _ := strings.Cut(f, ":")
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	})
	return h
}

// pad makes the head exactly n bytes long.
func (h head) pad(n int) head {
	const field = "X-Pad: "
	return h.add(field + strings.Repeat("p", n-len(h.add(field).String())))
}

func (h head) String() string {
	return h.line + "\r\n" + strings.Join(append(slices.Clone(h.fields), "", ""), "\r\n")
}
