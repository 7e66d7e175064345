package conformance_test

import (
	"encoding/binary"
	"fmt"
)

// letters is text of n bytes in which no part looks like its neighbours.
func letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte((i+i/26)%26)
	}
	return string(b)
}

// octets is the like with all values of a byte.
func octets(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return string(b)
}

// framing is section 1: every form of the length, and the rules for headers.
func framing() []row {
	var rows []row
	lengths := []int{0, 125, 126, 127, 128, 65535, 65536, 1, 2, 3, 4, 5, 65537}
	for i, n := range lengths {
		cuts := []int{0, 1, 3}
		if n > 128 {
			cuts = []int{0, 997, 65536}
		}
		rows = append(rows,
			echoes(fmt.Sprintf("1.1.%d text of %d bytes", i+1, n), text, letters(n)).cutBy(cuts...),
			echoes(fmt.Sprintf("1.2.%d binary of %d bytes", i+1, n), bin, octets(n)).cutBy(cuts...))
	}
	for _, key := range [][4]byte{{}, {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1}, {0x80, 0, 0, 0}} {
		rows = append(rows, once(fmt.Sprintf("mask %x", key), masked(text, 131, letters(131), key), hearText(letters(131))))
	}
	rows = append(rows,
		once("three messages at once", join(frame(text, "one"), frame(bin, "two"), frame(text, "")),
			hearText("one"), hearBinary("two"), hearText("")),
		once("text, ping, binary at once", join(frame(text, "one"), frame(ping, "two"), frame(bin, "three")),
			hearText("one"), hearPong("two"), hearBinary("three")))
	rows = append(rows, lengthRows()...)
	return append(rows, unmaskedRows()...)
}

// lengthRows are about lengths that may not be, and headers that are refused
// before their payload is there.
func lengthRows() []row {
	in2 := func(b0 byte, n uint16) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{b0, 0x80 | 126}, n), 0, 0, 0, 0)
	}
	in8 := func(b0 byte, n uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{b0, 0x80 | 127}, n), 0, 0, 0, 0)
	}
	const limit = 64 << 20
	return []row{
		fails("0 in 2 bytes", 1002, in2(text, 0)),
		fails("125 in 2 bytes", 1002, in2(text, 125)),
		fails("125 in 2 bytes, with payload", 1002, in2(bin, 125), []byte(letters(125))),
		fails("125 in 8 bytes", 1002, in8(text, 125)),
		fails("126 in 8 bytes", 1002, in8(bin, 126)),
		fails("65535 in 8 bytes", 1002, in8(text, 65535)),
		fails("highest bit of the length", 1002, in8(bin, 1<<63)),
		fails("all bits of the length", 1002, in8(bin, 1<<64-1)),
		fails("continuation, 5 in 2 bytes", 1002, frame(moreText, "a"), in2(cont, 5)),
		fails("ping, 5 in 2 bytes", 1002, in2(ping, 5)),
		fails("close, 5 in 8 bytes", 1002, in8(closing, 5)),
		fails("longer than the limit", 1009, in8(text, limit+1)),
		fails("much longer", 1009, in8(bin, 1<<40)),
		fails("longest of all", 1009, in8(bin, 1<<63-1)),
		fails("first fragment longer than the limit", 1009, in8(moreBin, limit+1)),
		fails("continuation over the limit", 1009, frame(moreBin, "ab"), in8(cont, limit-1)),
		once("echo before the one that is longer", join(frame(text, "Hello"), in8(text, limit+1)),
			hearText("Hello"), hearClose(1009)),
	}
}

// unmaskedRows are about frames without a mask. The header is enough.
func unmaskedRows() []row {
	rows := []row{
		once("echo before the unmasked", join(frame(text, "Hello"), []byte{text, 2, 'h', 'i'}, frame(ping, "no")),
			hearText("Hello"), hearClose(1002)),
		fails("unmasked continuation", 1002, frame(moreText, "a"), []byte{cont, 1, 'b'}),
		fails("unmasked with a long length", 1002, []byte{bin, 127}),
	}
	for name, b0 := range map[string]byte{"text": text, "binary": bin, "ping": ping, "pong": pong, "close": closing} {
		rows = append(rows,
			fails("unmasked empty "+name, 1002, []byte{b0, 0}),
			fails("unmasked "+name, 1002, []byte{b0, 2, 0x03, 0xe8}, frame(text, "more")))
	}
	return rows
}
