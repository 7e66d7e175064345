package conformance_test

import (
	"bytes"
	"slices"
	"strings"
)

// fragments is section 5.
func fragments() []row {
	return append(append(fragmentedMessages(), fragmentsInterrupted()...), fragmentsOutOfPlace()...)
}

// split is a message in fragments of n bytes; first begins it.
func split(first byte, payload string, n int) []byte {
	var b []byte
	for len(payload) > n {
		b = append(b, frame(first&0x7f, payload[:n])...)
		payload, first = payload[n:], moreCont
	}
	return append(b, frame(first|0x80, payload)...)
}

func fragmentedMessages() []row {
	two := join(frame(moreText, "fragment1"), frame(cont, "fragment2"))
	return []row{
		once("5.3 text in two", two, hearText("fragment1fragment2")).cutBy(0),
		once("5.4 text in two, in pieces", two, hearText("fragment1fragment2")).cutBy(1, 2, 5),
		{name: "5.5 text in two, one write each", steps: []step{
			{frame(moreText, "fragment1"), nil},
			{frame(cont, "fragment2"), []answer{hearText("fragment1fragment2")}},
		}},
		once("binary in two", join(frame(moreBin, "\x00\xff"), frame(cont, "\xfe")), hearBinary("\x00\xff\xfe")),
		once("text in a hundred of one byte", split(moreText, letters(100), 1), hearText(letters(100))),
		once("text in fragments of 125, 126 and 127", join(frame(moreText, letters(125)), frame(moreCont, letters(126)), frame(cont, letters(127))),
			hearText(letters(125)+letters(126)+letters(127))),
		once("two texts in two each", join(two, two), hearText("fragment1fragment2"), hearText("fragment1fragment2")),
		once("text in two, then binary in two", join(two, frame(moreBin, "a"), frame(cont, "b")), hearText("fragment1fragment2"), hearBinary("ab")),
		once("text in two, then a whole one", join(two, frame(text, "whole")), hearText("fragment1fragment2"), hearText("whole")),
		once("first fragment empty", join(frame(moreText, ""), frame(cont, "ab")), hearText("ab")),
		once("last fragment empty", join(frame(moreText, "ab"), frame(cont, "")), hearText("ab")),
		once("middle fragments empty", join(frame(moreText, "a"), frame(moreCont, ""), frame(moreCont, ""), frame(cont, "b")), hearText("ab")),
		once("all fragments empty", join(frame(moreBin, ""), frame(moreCont, ""), frame(cont, "")), hearBinary("")),
		once("more than a thousand fragments", split(moreBin, octets(5000), 1), hearBinary(octets(5000))).cutBy(0, 999),
	}
}

func fragmentsInterrupted() []row {
	pingInside := join(frame(moreText, "fragment1"), frame(ping, "ping payload"))
	return []row{
		{name: "5.6 ping inside is answered before the end", steps: []step{
			{pingInside, []answer{hearPong("ping payload")}},
			{frame(cont, "fragment2"), []answer{hearText("fragment1fragment2")}},
		}},
		once("5.7 ping inside, at once", join(pingInside, frame(cont, "fragment2")),
			hearPong("ping payload"), hearText("fragment1fragment2")).cutBy(0),
		once("5.8 ping inside, in pieces", join(pingInside, frame(cont, "fragment2")),
			hearPong("ping payload"), hearText("fragment1fragment2")).cutBy(1, 2, 3),
		{name: "5.19 five fragments, two pings inside", steps: []step{
			{join(frame(moreText, "fragment1"), frame(moreCont, "fragment2"), frame(ping, "pongme 1!")), []answer{hearPong("pongme 1!")}},
			{join(frame(moreCont, "fragment3"), frame(ping, "pongme 2!")), []answer{hearPong("pongme 2!")}},
			{join(frame(moreCont, "fragment4"), frame(cont, "fragment5")), []answer{hearText("fragment1fragment2fragment3fragment4fragment5")}},
		}},
		once("5.20 five fragments, two pings inside, at once",
			join(frame(moreText, "fragment1"), frame(moreCont, "fragment2"), frame(ping, "pongme 1!"), frame(moreCont, "fragment3"),
				frame(ping, "pongme 2!"), frame(moreCont, "fragment4"), frame(cont, "fragment5")),
			hearPong("pongme 1!"), hearPong("pongme 2!"), hearText("fragment1fragment2fragment3fragment4fragment5")),
		once("pong inside", join(frame(moreText, "a"), frame(pong, "x"), frame(cont, "b")), hearText("ab")),
		once("ping of 125 bytes inside", join(frame(moreBin, "a"), frame(ping, octets(125)), frame(cont, "b")), hearPong(octets(125)), hearBinary("ab")),
		once("pings between fifty fragments", join(frame(moreText, ""), bytes.Repeat(join(frame(moreCont, "x"), frame(ping, "p")), 50), frame(cont, "y")),
			append(slices.Repeat([]answer{hearPong("p")}, 50), hearText(strings.Repeat("x", 50)+"y"))...),
		once("close inside", join(frame(moreText, "a"), frame(closing, closeBody(1000, "")), frame(cont, "b")), hearClose(1000)),
		fails("ping of 126 bytes inside", 1002, frame(moreText, "a"), frame(ping, octets(126))),
		fails("fragment of a ping inside", 1002, frame(moreText, "a"), frame(ping&0x7f, "p"), frame(cont, "b")),
	}
}

func fragmentsOutOfPlace() []row {
	return []row{
		fails("5.1 ping in two", 1002, frame(ping&0x7f, "fragment1"), frame(cont, "fragment2")),
		fails("5.2 pong in two", 1002, frame(pong&0x7f, "fragment1"), frame(cont, "fragment2")),
		fails("close in two", 1002, frame(closing&0x7f, closeBody(1000, "")), frame(cont, "bye")),
		fails("empty fragment of a ping", 1002, frame(ping&0x7f, "")),
		fails("first byte of a fragment of a ping", 1002, []byte{ping & 0x7f}),
		fails("first byte of a fragment of a close", 1002, []byte{closing & 0x7f}),
		fails("5.9 continuation of nothing, then text", 1002, frame(cont, "non-continuation payload"), frame(text, "Hello, world!")).cutBy(0),
		fails("5.11 the same in pieces", 1002, frame(cont, "non-continuation payload"), frame(text, "Hello, world!")).cutBy(1, 3),
		fails("5.12 continuation of nothing, not final, then text", 1002, frame(moreCont, "non-continuation payload"), frame(text, "Hello, world!")).cutBy(0),
		fails("5.14 the same in pieces", 1002, frame(moreCont, "non-continuation payload"), frame(text, "Hello, world!")).cutBy(1, 3),
		fails("empty continuation of nothing", 1002, frame(cont, "")),
		fails("first byte of a continuation of nothing", 1002, []byte{cont}),
		once("5.15 continuation after the last fragment",
			join(frame(moreText, "fragment1"), frame(cont, "fragment2"), frame(moreCont, "fragment3"), frame(text, "fragment4")),
			hearText("fragment1fragment2"), hearClose(1002)),
		once("final continuation after the last fragment",
			join(frame(moreBin, "a"), frame(cont, "b"), frame(cont, "c")), hearBinary("ab"), hearClose(1002)),
		once("continuation after a whole message", join(frame(text, "a"), frame(cont, "b")), hearText("a"), hearClose(1002)),
		once("continuation after a ping", join(frame(ping, "a"), frame(cont, "b")), hearPong("a"), hearClose(1002)),
		fails("5.16 continuation first, not final", 1002,
			frame(moreCont, "fragment1"), frame(moreText, "fragment2"), frame(cont, "fragment3")),
		fails("5.17 continuation first, final", 1002,
			frame(cont, "fragment1"), frame(moreText, "fragment2"), frame(cont, "fragment3")),
		fails("5.18 both fragments text", 1002, frame(moreText, "fragment1"), frame(text, "fragment2")),
		fails("text inside binary", 1002, frame(moreBin, "a"), frame(text, "b")),
		fails("binary inside text", 1002, frame(moreText, "a"), frame(bin, "b")),
		fails("fragment of text inside text", 1002, frame(moreText, "a"), frame(moreText, "b"), frame(cont, "c")),
		fails("text inside a message with a ping between", 1002, frame(moreText, ""), []byte{text}),
		once("text inside a message after a pong", join(frame(moreText, "a"), frame(ping, "p"), frame(text, "b")), hearPong("p"), hearClose(1002)),
	}
}
