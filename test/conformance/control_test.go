package conformance_test

import (
	"fmt"
	"strings"
)

// pings is section 2.
func pings() []row {
	var ten []byte
	var tenBack []answer
	for i := range 10 {
		p := fmt.Sprintf("payload-%d", i)
		ten = append(ten, frame(ping, p)...)
		tenBack = append(tenBack, hearPong(p))
	}
	rows := []row{
		once("2.1 empty ping", frame(ping, ""), hearPong("")),
		once("2.2 ping with text", frame(ping, "Hello, world!"), hearPong("Hello, world!")),
		once("2.3 ping with bytes that are no text", frame(ping, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), hearPong("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")),
		once("2.4 ping of 125 bytes", frame(ping, octets(125)), hearPong(octets(125))),
		fails("2.5 ping of 126 bytes", 1002, frame(ping, octets(126))),
		once("2.6 ping of 125 bytes in pieces", frame(ping, octets(125)), hearPong(octets(125))).cutBy(1, 2, 7, 100),
		once("2.7 unsolicited empty pong", frame(pong, "")),
		once("2.8 unsolicited pong with payload", frame(pong, "unsolicited")),
		once("2.9 unsolicited pong, then ping", join(frame(pong, "unsolicited"), frame(ping, "ping")), hearPong("ping")),
		once("2.10 ten pings", ten, tenBack...).cutBy(0),
		once("2.11 ten pings in pieces", ten, tenBack...).cutBy(1, 5, 13),
		once("pong of 125 bytes", join(frame(pong, octets(125)), frame(ping, "alive")), hearPong("alive")),
		fails("pong of 126 bytes", 1002, frame(pong, octets(126))),
		fails("ping of 65536 bytes", 1002, frame(ping, octets(65536))).cutBy(0),
		fails("ping of 126 bytes, its first two only", 1002, frame(ping, octets(126))[:2]),
		fails("ping of 65536 bytes, its first two only", 1002, frame(ping, octets(65536))[:2]),
		once("no pong after a ping that is too long", join(frame(ping, "one"), frame(ping, octets(126)), frame(ping, "two")),
			hearPong("one"), hearClose(1002)),
		once("a hundred pongs say nothing", []byte(strings.Repeat(string(frame(pong, "x")), 100))),
	}
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 124} {
		rows = append(rows, once(fmt.Sprintf("ping of %d bytes", n), frame(ping, octets(n)), hearPong(octets(n))))
	}
	return rows
}

// reserved is sections 3 and 4: reserved bits with no extension that uses
// them, and reserved opcodes. Their first byte is enough.
func reserved() []row {
	var rows []row
	kinds := []struct {
		name    string
		b0      byte
		payload string
	}{
		{"text", text, "hi"}, {"text fragment", moreText, "hi"}, {"binary", bin, "hi"},
		{"ping", ping, "hi"}, {"pong", pong, "hi"}, {"close", closing, closeBody(1000, "")},
	}
	for bits := byte(1); bits < 8; bits++ {
		for _, k := range kinds {
			rows = append(rows, once(fmt.Sprintf("3.%d %s with reserved bits %03b", bits, k.name, bits),
				join(frame(text, "Hello"), frame(k.b0|bits<<4, k.payload), frame(ping, "no")),
				hearText("Hello"), hearClose(1002)))
		}
		rows = append(rows,
			fails(fmt.Sprintf("3.%d continuation with reserved bits %03b", bits, bits), 1002, frame(moreText, "a"), frame(cont|bits<<4, "b")),
			fails(fmt.Sprintf("3.%d one byte with reserved bits %03b", bits, bits), 1002, []byte{text | bits<<4}))
	}
	for i, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		name := func(what string) string { return fmt.Sprintf("4.%d.%d opcode %d %s", i/5+1, i%5+1, op, what) }
		rows = append(rows,
			fails(name("empty"), 1002, frame(0x80|op, "")),
			fails(name("with payload"), 1002, frame(0x80|op, "reserved"), frame(ping, "no")),
			fails(name("not final"), 1002, frame(op, "reserved")),
			fails(name("one byte"), 1002, []byte{0x80 | op}),
			fails(name("inside a message"), 1002, frame(moreText, "a"), frame(0x80|op, "b"), frame(cont, "c")),
			once(name("after an echo"), join(frame(text, "Hello"), frame(0x80|op, ""), frame(text, "no")),
				hearText("Hello"), hearClose(1002)))
	}
	return rows
}
