package conformance_test

import (
	"fmt"
	"slices"
	"strings"
)

// sizes is sections 9 and 10: large messages, many, in fragments and in pieces,
// of the suite's sizes as far as they fit into a test of seconds.
func sizes() []row {
	var rows []row
	for _, k := range []struct {
		name    string
		b0      byte
		payload func(int) string
	}{{"text", text, umlauts}, {"binary", bin, octets}} {
		hear := func(s string) answer { return answer{op: k.b0 & 15, payload: s} }
		for i, n := range []int{64 << 10, 256 << 10, 1 << 20} {
			rows = append(rows, echoes(fmt.Sprintf("9.1.%d %s of %d bytes", i+1, k.name, n), k.b0, k.payload(n)).cutBy(0))
		}
		long := k.payload(512 << 10)
		for i, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 512 << 10} {
			rows = append(rows, once(fmt.Sprintf("9.3.%d %s in fragments of %d", i+1, k.name, n), split(k.b0, long, n), hear(long)).cutBy(0))
		}
		long = k.payload(128 << 10)
		for i, n := range []int{64, 128, 256, 512, 1024, 2048} {
			rows = append(rows, once(fmt.Sprintf("9.5.%d %s in writes of %d", i+1, k.name, n), frame(k.b0, long), hear(long)).cutBy(n))
		}
		for i, n := range []int{0, 16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
			rows = append(rows, inTurn(fmt.Sprintf("9.7.%d %s of %d bytes", i+1, k.name, n), k.b0, k.payload(n)))
		}
		many := k.payload(1000)
		rows = append(rows,
			once(fmt.Sprintf("a thousand times %s at once", k.name), []byte(strings.Repeat(string(frame(k.b0, many)), 1000)), slices.Repeat([]answer{hear(many)}, 1000)...).cutBy(0, 7919),
			once(fmt.Sprintf("10.1.1 %s of 64 KiB in fragments of 1300", k.name), split(k.b0, k.payload(64<<10), 1300), hear(k.payload(64<<10))).cutBy(0, 1300, 997))
	}
	return append(rows, echoes("9.1.4 text of 4 MiB", text, letters(4<<20)).cutBy(0))
}

// umlauts is text of n bytes, of two for each character but the last.
func umlauts(n int) string { return strings.Repeat("ä", n/2) + letters(n%2) }

// inTurn is fifty messages, each sent when the one before is back.
func inTurn(name string, b0 byte, payload string) row {
	r := row{name: name, cuts: []int{0}}
	sent := frame(b0, payload)
	for range 50 {
		r.steps = append(r.steps, step{sent, []answer{{op: b0 & 15, payload: payload}}})
	}
	return r
}

// tightLimit is the limit of a message where rows reach it.
const tightLimit = 64 << 10

// limits is about messages around the limit.
func limits() []row {
	var rows []row
	for name, b0 := range map[string]byte{"text": text, "binary": bin} {
		most := letters(tightLimit)
		over := letters(tightLimit + 1)
		rows = append(rows,
			once(name+" at the limit", frame(b0, most), answer{op: b0 & 15, payload: most}).cutBy(0, 997),
			fails(name+" over the limit", 1009, frame(b0, over)).cutBy(0, 997),
			fails(name+" over the limit, the length alone", 1009, begin(b0, len(over), "")[:10]),
			once(name+" at the limit, in fragments", split(b0, most, 1000), answer{op: b0 & 15, payload: most}).cutBy(0, 997),
			fails(name+" over the limit, in fragments", 1009, split(b0, over, 1000)).cutBy(0, 997),
			once(name+" at the limit, with an empty last fragment", join(frame(b0&0x7f, most), frame(cont, "")), answer{op: b0 & 15, payload: most}).cutBy(0),
			fails(name+" at the limit, and a byte", 1009, frame(b0&0x7f, most), frame(cont, "x")).cutBy(0),
			fails(name+" at the limit, and a byte that did not come", 1009, frame(b0&0x7f, most), begin(moreCont, 1, "")[:2]).cutBy(0),
			once("ping inside "+name+" at the limit", join(frame(b0&0x7f, most), frame(ping, "p"), frame(cont, "")),
				hearPong("p"), answer{op: b0 & 15, payload: most}).cutBy(0),
			once(name+" behind one over the limit is ignored", join(frame(b0, "a"), frame(b0, over), frame(b0, "no")),
				answer{op: b0 & 15, payload: "a"}, hearClose(1009)).cutBy(0))
	}
	return rows
}
