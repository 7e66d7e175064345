package conformance_test

import (
	"fmt"
	"strings"
)

// closings is section 7.
func closings() []row {
	rows := append(closeOrder(), closeBodies()...)
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		rows = append(rows,
			once(fmt.Sprintf("7.7 code %d comes back", code), frame(closing, closeBody(code, "")), hearClose(code)),
			once(fmt.Sprintf("7.7 code %d with reason", code), frame(closing, closeBody(code, "reason ä")), hearClose(code)))
	}
	for _, code := range []int{0, 1, 125, 255, 256, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 5001, 9999, 65535} {
		rows = append(rows,
			fails(fmt.Sprintf("7.9 code %d", code), 1002, frame(closing, closeBody(code, ""))),
			fails(fmt.Sprintf("7.9 code %d with reason", code), 1002, frame(closing, closeBody(code, "Reason")), frame(ping, "no")))
	}
	return rows
}

// closeOrder is about what comes before and after a close frame.
func closeOrder() []row {
	bye := frame(closing, closeBody(1000, ""))
	long := letters(256 << 10)
	return []row{
		once("7.1.1 echo, then close", join(frame(text, "Hello World!"), bye), hearText("Hello World!"), hearClose(1000)),
		once("7.1.2 second close is ignored", join(bye, bye), hearClose(1000)),
		once("second close with another code is ignored", join(bye, frame(closing, closeBody(1001, ""))), hearClose(1000)),
		once("7.1.3 ping after close is ignored", join(bye, frame(ping, "no")), hearClose(1000)),
		once("7.1.4 text after close is ignored", join(bye, frame(text, "no")), hearClose(1000)),
		once("binary after close is ignored", join(bye, frame(bin, octets(1000))), hearClose(1000)),
		once("7.1.5 rest of a message after close is ignored", join(frame(moreText, "fragment1"), bye, frame(cont, "fragment2")), hearClose(1000)),
		once("7.1.6 a long echo comes before the close", join(frame(text, long), frame(text, "Hello World!"), bye, frame(ping, "no")),
			hearText(long), hearText("Hello World!"), hearClose(1000)).cutBy(0, 1999),
		once("pong comes before the close", join(frame(ping, "p"), bye), hearPong("p"), hearClose(1000)),
		once("broken frame after close is ignored", join(bye, []byte{0xf3, 0xff, 0xff}), hearClose(1000)),
		once("unmasked frame after close is ignored", join(bye, []byte{text, 1, 'a'}), hearClose(1000)),
		once("text that is none after close is ignored", join(bye, frame(text, "\xff")), hearClose(1000)),
		once("half a frame after close is ignored", join(bye, begin(bin, 100, "abc")), hearClose(1000)),
		once("much after close is ignored", join(bye, frame(bin, octets(100<<10))), hearClose(1000)).cutBy(0, 9973),
		once("close after a failure is ignored", join(frame(cont, "x"), bye), hearClose(1002)),
		once("text after a failure is ignored", join(frame(text, "\xff"), frame(text, "no")), hearClose(1007)),
		once("second failure is ignored", join(frame(text, "\xff"), frame(cont, "x")), hearClose(1007)),
		once("echo before a failure", join(frame(bin, long), frame(0x83, "")), hearBinary(long), hearClose(1002)).cutBy(0, 1999),
	}
}

// closeBodies is about what is in a close frame.
func closeBodies() []row {
	body := func(reason string) []byte { return frame(closing, closeBody(1000, reason)) }
	return []row{
		once("7.3.1 nothing", frame(closing, ""), hearClose(1000)),
		fails("7.3.2 one byte", 1002, frame(closing, "a")),
		fails("one byte of a code", 1002, frame(closing, "\x03"), frame(ping, "no")),
		once("7.3.3 code", body(""), hearClose(1000)),
		once("7.3.4 code and reason", body("Hello World!"), hearClose(1000)),
		once("7.3.5 reason of 123 bytes", body(letters(123)), hearClose(1000)),
		fails("7.3.6 reason of 124 bytes", 1002, body(letters(124))),
		fails("reason of 64 KiB", 1002, body(letters(64<<10))).cutBy(0),
		fails("7.5.1 reason is not UTF-8", 1007, body(kosme+"\xed\xa0\x80edited")),
		fails("reason is ff", 1007, body("\xff")),
		fails("reason is overlong", 1007, body("\xc0\xaf")),
		fails("reason ends in a character", 1007, body(strings.Repeat("ä", 61)+"\xc3")),
		once("reason of characters, 123 bytes", body(strings.Repeat("ä", 61)+"x"), hearClose(1000)),
		once("reason of noncharacters", body("\uffff\U0010ffff"), hearClose(1000)),
		fails("bad code beats bad reason", 1002, frame(closing, closeBody(1005, "\xff"))),
	}
}
