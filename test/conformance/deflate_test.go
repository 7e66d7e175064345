package conformance_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

const (
	deflateOffer  = "permessage-deflate; client_max_window_bits"
	deflateAnswer = "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
	// deflateTail is what a sender leaves out (RFC 7692, section 7.2.1), and
	// endOfStream an empty last block.
	deflateTail = "\x00\x00\xff\xff"
	endOfStream = "\x01\x00\x00\xff\xff"
)

// deflate compresses by another implementation than the server's. level is
// that of compress/flate.
func deflate(payload string, level int) string {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, level)
	if err == nil {
		_, err = io.WriteString(w, payload)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err)
	}
	return strings.TrimSuffix(buf.String(), deflateTail)
}

// inflate undoes what the server did.
func inflate(body []byte) ([]byte, error) {
	r := flate.NewReader(io.MultiReader(bytes.NewReader(body), strings.NewReader(deflateTail+endOfStream)))
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	return b, nil
}

// orders is JSON of n bytes, or the beginning of it, that compresses well.
func orders(n int) string {
	return strings.Repeat(`{"order":17,"state":"shipped","eta":"12:30"},`, n/45+1)[:n]
}

// noise is n bytes that do not compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// deflated is section 12 with the examples of RFC 7692. The server compresses
// from 1 byte, where that makes a message shorter.
func deflated() []row {
	rows := append(deflateExamples(), deflateFaults()...)
	for i, n := range []int{16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
		json := answer{op: text & 15, payload: orders(n), deflated: n >= 256}
		rows = append(rows,
			compressedInTurn(fmt.Sprintf("12.1.%d JSON of %d bytes", i+1, n), text, json, n),
			compressedInTurn(fmt.Sprintf("12.2.%d noise of %d bytes", i+1, n), bin, hearBinary(noise(n)), n+100),
			compressedInTurn(fmt.Sprintf("12.3.%d JSON of %d bytes in fragments", i+1, n), text, json, 31),
			compressedInTurn(fmt.Sprintf("12.4.%d umlauts of %d bytes in fragments", i+1, n), text, hearText(umlauts(n)), 7),
			once(fmt.Sprintf("12.5.%d JSON of %d bytes that is not compressed", i+1, n), frame(text, orders(n)), json).cutBy(0, 997))
	}
	return rows
}

// compressedInTurn is a message compressed in several ways, each sent when the
// one before is back. Fragments have n bytes, compressed.
func compressedInTurn(name string, b0 byte, want answer, n int) row {
	r := row{name: name, cuts: []int{0, 997}}
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
		r.steps = append(r.steps, step{split(b0|compressed, deflate(want.payload, level), n), []answer{want}})
	}
	return r
}

// deflateExamples are those of RFC 7692, section 7.2.3, and other forms that a
// compressed message may have.
func deflateExamples() []row {
	example := func(b0 byte, octets string) []byte { return frame(b0|compressed, octetsOf(octets)) }
	hello := deflate("Hello", flate.BestCompression)
	json := orders(1000)
	return []row{
		once("one block", example(text, "f248cdc9c90700"), hearText("Hello")),
		once("one block in fragments", join(example(moreText, "f248cd"), frame(cont, octetsOf("c9c90700"))), hearText("Hello")),
		once("block without compression", example(text, "000500faff48656c6c6f00"), hearText("Hello")),
		once("final block", example(text, "f348cdc9c9070000"), hearText("Hello")),
		once("two blocks", example(text, "f24805000000ffffcac9c90700"), hearText("Hello")),
		once("empty", example(text, "00"), hearText("")),
		once("empty binary in fragments", join(example(moreBin, ""), frame(moreCont, "\x00"), frame(cont, "")), hearBinary("")),
		once("same message twice", join(example(text, "f248cdc9c90700"), example(text, "f248cdc9c90700")), hearText("Hello"), hearText("Hello")),
		once("level 0", frame(text|compressed, deflate(json, 0)), hearDeflated(json)),
		once("Huffman codes only", frame(text|compressed, deflate(json, flate.HuffmanOnly)), hearDeflated(json)),
		once("compressed, plain, compressed", join(frame(text|compressed, hello), frame(text, "plain"), frame(bin|compressed, hello)),
			hearText("Hello"), hearText("plain"), hearBinary("Hello")),
		once("plain in fragments", split(moreText, json, 100), hearDeflated(json)),
		once("ping inside", join(frame(moreText|compressed, hello[:3]), frame(ping, "p"), frame(cont, hello[3:])), hearPong("p"), hearText("Hello")),
		once("fragments of one byte", split(text|compressed, deflate(kosme+json, 9), 1), hearDeflated(kosme+json)),
		once("no pong is compressed", frame(ping, strings.Repeat("a", 125)), hearPong(strings.Repeat("a", 125))),
		once("close inside", join(frame(moreText|compressed, hello[:3]), frame(closing, closeBody(4001, "bye"))), hearClose(4001)),
		once("binary needs no UTF-8", frame(bin|compressed, deflate("\xff\xc0\x80", 9)), hearBinary("\xff\xc0\x80")),
		once("character cut by a fragment", split(text|compressed, deflate(strings.Repeat("€", 10), 0), 2), hearText(strings.Repeat("€", 10))),
	}
}

func deflateFaults() []row {
	hello := deflate("Hello", flate.BestCompression)
	bad := func(name, payload string) row {
		return fails(name, 1007, frame(text|compressed, payload), frame(ping, "no"))
	}
	return []row{
		fails("RSV1 on a ping", 1002, frame(ping|compressed, "")),
		fails("RSV1 on a pong", 1002, frame(pong|compressed, hello)),
		fails("RSV1 on a close", 1002, frame(closing|compressed, closeBody(1000, ""))),
		fails("RSV1 on a continuation", 1002, frame(moreText|compressed, hello[:3]), frame(cont|compressed, hello[3:])),
		fails("RSV1 on a continuation of a plain message", 1002, frame(moreText, "a"), frame(cont|compressed, "b")),
		fails("RSV1 on a continuation of nothing", 1002, frame(cont|compressed, hello)),
		fails("RSV1 on a reserved opcode", 1002, frame(0x83|compressed, hello)),
		fails("RSV1 and RSV2", 1002, frame(text|compressed|rsv2, hello)),
		fails("RSV1 and RSV3", 1002, frame(bin|compressed|0x10, hello)),
		fails("RSV2", 1002, frame(text|rsv2, "a")),
		fails("all reserved bits, one byte", 1002, []byte{text | 0x70}),
		bad("no block", "\xff\xff\xff\xff"),
		bad("block type 3", "\x06"),
		bad("stored length does not match", octetsOf("000500000048656c6c6f00")),
		bad("distance beyond the start", octetsOf("f200110000")),
		bad("cut in a block", deflate(orders(500), 9)[:20]),
		once("no context is taken over", join(frame(text|compressed, hello), frame(text|compressed, octetsOf("f200110000"))),
			hearText("Hello"), hearClose(1007)),
		once("good, damaged, good", join(frame(text|compressed, hello), frame(text|compressed, "\xff\xff"), frame(text|compressed, hello)),
			hearText("Hello"), hearClose(1007)),
		bad("ff inside", deflate("\xff", 9)),
		bad("surrogate inside", deflate(kosme+"\xed\xa0\x80edited", 9)),
		bad("overlong inside", deflate(orders(1000)+"\xc0\xaf", 9)),
		bad("character cut at the end", deflate("a\xe2\x82", 9)),
		fails("no UTF-8 inside, in fragments", 1007, split(text|compressed, deflate("ab\xffcd", 9), 2)),
		fails("plain text that is none", 1007, frame(text, "a\xff")),
		fails("plain text that is none, within a frame", 1007, begin(text, 100, "a\xff")),
		fails("reason is not UTF-8", 1007, frame(closing, closeBody(1000, "\xff"))),
	}
}

// deflateLimits is about messages that grow over the limit.
func deflateLimits() []row {
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	most := deflate(zeros(tightLimit), 9)
	over := deflate(zeros(tightLimit+1), 9)
	bomb := deflate(zeros(4<<20), 9)
	return []row{
		once("text grows to the limit", frame(text|compressed, most), hearDeflated(zeros(tightLimit))),
		once("text grows to the limit, in fragments", split(text|compressed, most, 10), hearDeflated(zeros(tightLimit))),
		fails("text grows over the limit", 1009, frame(text|compressed, over), frame(ping, "no")),
		fails("text grows over the limit, in fragments", 1009, split(text|compressed, over, 10)),
		fails("binary grows over the limit", 1009, frame(bin|compressed, over)),
		fails("bomb", 1009, frame(bin|compressed, bomb)).cutBy(0, 997),
		fails("bomb in fragments", 1009, split(bin|compressed, bomb, 1000)).cutBy(0, 997),
		once("echo before a bomb", join(frame(text, "a"), frame(text|compressed, bomb), frame(text, "no")), hearText("a"), hearClose(1009)).cutBy(0),
		fails("over the limit as it comes", 1009, frame(bin|compressed, deflate(noise(tightLimit), 0))).cutBy(0, 997),
		fails("over the limit as it comes, the length alone", 1009, begin(bin|compressed, tightLimit+1, "")[:10]),
	}
}

// offers is section 13: what is agreed on for an offer, and that both sides keep
// to it.
func offers() []row {
	const name = "permessage-deflate"
	var rows []row
	for _, offer := range []string{
		name,
		name + "; client_no_context_takeover",
		name + "; server_no_context_takeover",
		name + "; client_no_context_takeover; server_no_context_takeover",
		name + "; client_max_window_bits",
		name + "; client_max_window_bits=9",
		name + `; client_max_window_bits="15"`,
		name + "; server_no_context_takeover; client_max_window_bits=8",
		name + "; server_max_window_bits=9, " + name,
		name + "; unknown, " + name + "; client_max_window_bits",
		name + ", " + name + "; client_no_context_takeover",
		"x-webkit-deflate-frame, " + name,
	} {
		rows = append(rows, agrees(offer, deflateAnswer))
	}
	rows = append(rows, agrees(name+"; server_max_window_bits=15", deflateAnswer+";server_max_window_bits=15"))
	for _, offer := range []string{
		"",
		name + "; server_max_window_bits=8",
		name + "; server_max_window_bits=9",
		name + "; server_max_window_bits=14",
		name + "; server_max_window_bits",
		name + "; server_max_window_bits=16",
		name + "; client_max_window_bits=7",
		name + "; client_max_window_bits=16",
		name + "; client_max_window_bits=08",
		name + "; client_no_context_takeover=1",
		name + "; unknown",
		name + "; client_max_window_bits; client_max_window_bits",
		"x-webkit-deflate-frame",
		"permessage-bzip2",
	} {
		rows = append(rows, row{
			name: "declines " + offer, offer: offer, agreed: noExtension,
			steps: []step{
				{frame(text, orders(1000)), []answer{hearText(orders(1000))}},
				{frame(text|compressed, deflate("Hello", 9)), []answer{hearClose(1002)}},
			},
		})
	}
	return rows
}

// agrees is a row in which both sides compress.
func agrees(offer, agreed string) row {
	json := orders(1000)
	return row{
		name: "agrees to " + offer, offer: offer, agreed: agreed,
		steps: []step{
			{frame(text|compressed, deflate(json, 9)), []answer{hearDeflated(json)}},
			{frame(text, json), []answer{hearDeflated(json)}},
			{split(bin|compressed, deflate(octets(500), 1), 50), []answer{hearBinary(octets(500))}},
		},
	}
}
