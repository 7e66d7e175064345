package conformance_test

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// sequence is a text and what is to be said of it.
type sequence struct {
	name string
	text string
	// bad is how many of its octets show that it can't become UTF-8; 0: it is
	// UTF-8; open: its last character is missing octets.
	bad int
}

const open = -1

// kosme is the word of the suite, 11 octets.
const kosme = "κόσμε"

// utf8Rows is section 6.
func utf8Rows() []row {
	const mixed = "Hello-µ@ßöäüàá-UTF-8!!"
	rows := []row{
		echoes("6.1.1 empty text", text, ""),
		once("6.1.2 empty fragments", join(frame(moreText, ""), frame(moreCont, ""), frame(cont, "")), hearText("")),
		once("6.1.3 empty fragments around text", join(frame(moreText, ""), frame(moreCont, "middle frame payload"), frame(cont, "")),
			hearText("middle frame payload")),
		echoes("6.2.1 whole", text, mixed),
		once("6.2.2 cut between characters", join(frame(moreText, mixed[:12]), frame(cont, mixed[12:])), hearText(mixed)),
		once("6.2.3 cut at every octet", split(moreText, mixed, 1), hearText(mixed)),
		once("6.2.4 cut at every octet", split(moreText, kosme, 1), hearText(kosme)),
		echoes("binary needs no UTF-8", bin, "\xff\xc0\x80"),
		once("fragmented binary needs no UTF-8", split(moreBin, "\xff\xc0\x80", 1), hearBinary("\xff\xc0\x80")),
		once("ping cuts no character", join(frame(moreText, "\xe2\x82"), frame(ping, "\xff"), frame(cont, "\xac")), hearPong("\xff"), hearText("€")),
		once("echo before the text that is none", join(frame(text, "ä"), frame(text, "\xe4"), frame(text, "no")), hearText("ä"), hearClose(1007)),
	}
	for n := 2; n <= 5; n++ {
		rows = append(rows, once(fmt.Sprintf("cut every %d octets", n), split(moreText, mixed+kosme+"😀😀", n), hearText(mixed+kosme+"😀😀")))
	}
	for _, list := range [][]sequence{prefixes(), edges(), strays(), truncated(), overlong(), surrogates(), special(), late()} {
		for _, s := range list {
			rows = append(rows, s.rows()...)
		}
	}
	return rows
}

// rows plays s in all ways that matter. A text that goes wrong must be failed at
// the octet that makes it wrong, and not before it.
func (s sequence) rows() []row {
	alive := frame(ping, "alive")
	switch s.bad {
	case 0:
		return []row{
			echoes(s.name+", whole", text, s.text),
			once(s.name+", by octets", split(moreText, s.text, 1), hearText(s.text)),
		}
	case open:
		return []row{
			fails(s.name+", whole", 1007, frame(text, s.text)),
			{name: s.name + ", by octets", steps: []step{
				{join(frame(moreText, s.text), alive), []answer{hearPong("alive")}},
				{frame(cont, ""), []answer{hearClose(1007)}},
			}},
		}
	default:
		good, bad := s.text[:s.bad-1], s.text[s.bad-1:s.bad]
		return []row{
			fails(s.name+", whole", 1007, frame(text, s.text), frame(ping, "no")),
			fails(s.name+", within a frame", 1007, begin(text, len(s.text)+100, s.text[:s.bad])),
			{name: s.name + ", within a fragment", steps: []step{
				{join(frame(moreText, good), alive), []answer{hearPong("alive")}},
				{begin(moreCont, 100, bad), []answer{hearClose(1007)}},
			}},
		}
	}
}

// octetsOf reads hexadecimal.
func octetsOf(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// listed numbers sequences of hexadecimal octets; bad holds for each of them.
func listed(section string, bad int, all ...string) []sequence {
	var list []sequence
	for i, s := range all {
		list = append(list, sequence{fmt.Sprintf("%s.%d %s", section, i+1, s), octetsOf(s), bad})
	}
	return list
}

func concat(lists ...[]sequence) []sequence {
	var all []sequence
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// prefixes is 6.3 to 6.6.
func prefixes() []sequence {
	list := []sequence{
		{"6.3.1 surrogate inside", kosme + "\xed\xa0\x80edited", len(kosme) + 2},
		{"6.4.1 beyond the last code point", kosme + "\xf4\x90\x80\x80edited", len(kosme) + 2},
		{"6.4.2 a fifth length", kosme + "\xf8\x88\x80\x80\x80edited", len(kosme) + 1},
		{"6.4.3 overlong inside", kosme + "\xc0\xafedited", len(kosme) + 1},
	}
	for n := 1; n <= len(kosme); n++ {
		s := sequence{fmt.Sprintf("6.6.%d % x", n, kosme[:n]), kosme[:n], open}
		if n == len(kosme) || kosme[n]&0xC0 != 0x80 {
			s.bad = 0
		}
		list = append(list, s)
	}
	return list
}

// edges is 6.7 to 6.11: first and last of each length, and next to the holes.
func edges() []sequence {
	return concat(
		listed("6.7", 0, "00", "c280", "e0a080", "f0908080"),
		listed("6.8", 1, "f888808080", "fc8480808080"),
		listed("6.9", 0, "7f", "dfbf", "efbfbf", "f48fbfbf"),
		listed("6.10", 1, "f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"),
		listed("6.11", 0, "ed9fbf", "ee8080", "efbfbd", "f48fbfbf"),
		listed("6.11 beyond", 2, "f4908080", "f4bfbfbf"),
		listed("lead above f4", 1, "f5808080", "f6808080", "f7808080"),
		listed("each lead", 0, "e18080", "ecbfbf", "ed8080", "f1808080", "f3bfbfbf", "f4808080", "c3bf"),
	)
}

// strays is 6.12, 6.13 and 6.16: octets that stand where they may not.
func strays() []sequence {
	var all strings.Builder
	for b := 0x80; b <= 0xbf; b++ {
		fmt.Fprintf(&all, "%02x", b)
	}
	lonely := func(from, to int) string {
		var s strings.Builder
		for b := from; b <= to; b++ {
			fmt.Fprintf(&s, "%02x20", b)
		}
		return s.String()
	}
	return concat(
		listed("6.12", 1, "80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf", all.String()),
		listed("6.13", 1, lonely(0xc0, 0xdf), lonely(0xf8, 0xfb), lonely(0xfc, 0xfd)),
		listed("6.13 lead and space", 2, lonely(0xc2, 0xdf), lonely(0xe0, 0xef), lonely(0xf0, 0xf4)),
		listed("6.16", 1, "fe", "ff", "fefeffff"),
	)
}

// truncated is 6.14 and 6.15.
func truncated() []sequence {
	return concat(
		listed("6.14", 1, "c0", "f8808080", "fc80808080", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"),
		listed("6.14 second octet", 2, "e080", "f08080"),
		listed("6.14 may go on", open, "df", "efbf", "c2", "e0a0", "ed9f", "f09080", "f48fbf", "f1", "f180"),
		listed("6.15", 1, "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"),
	)
}

// overlong is 6.17 to 6.19.
func overlong() []sequence {
	return concat(
		listed("6.17", 1, "c0af", "f8808080af", "fc80808080af"),
		listed("6.17 second octet", 2, "e080af", "f08080af"),
		listed("6.18", 1, "c1bf", "f887bfbfbf", "fc83bfbfbfbf"),
		listed("6.18 second octet", 2, "e09fbf", "f08fbfbf"),
		listed("6.19", 1, "c080", "f880808080", "fc8080808080"),
		listed("6.19 second octet", 2, "e08080", "f0808080"),
	)
}

// surrogates is 6.20 and 6.21.
func surrogates() []sequence {
	return concat(
		listed("6.20", 2, "eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"),
		listed("6.21", 2, "eda080edb080", "eda080edbfbf", "edadbfedb080", "edadbfedbfbf",
			"edae80edb080", "edae80edbfbf", "edafbfedb080", "edafbfedbfbf"),
	)
}

// special is 6.22 and 6.23: noncharacters and specials, which are UTF-8.
func special() []sequence {
	var list []sequence
	for plane := rune(0); plane <= 0x10; plane++ {
		for _, r := range []rune{plane<<16 | 0xfffe, plane<<16 | 0xffff} {
			list = append(list, sequence{fmt.Sprintf("6.22 %U", r), string(r), 0})
		}
	}
	for r := rune(0xfff9); r <= 0xffff; r++ {
		list = append(list, sequence{fmt.Sprintf("6.23 %U", r), string(r), 0})
	}
	return append(list, sequence{"byte order mark", "\ufeff", 0}, sequence{"private use", "\ue000\U000f0000", 0})
}

// late is what goes wrong at a later octet, or behind much that is right.
func late() []sequence {
	list := concat(
		listed("second octet is none", 2, "c341", "c3c3", "e141", "f141", "c200", "dfff"),
		listed("third octet is none", 3, "e18041", "e1bdc3", "f09041", "f48fff", "ed9f00"),
		listed("fourth octet is none", 4, "f0908041", "f48fbfc2", "f18080ff"),
	)
	for _, n := range []int{7, 8, 15, 16, 31, 100, 600} {
		list = append(list,
			sequence{fmt.Sprintf("ff after %d letters", n), letters(n) + "\xff" + letters(20), n + 1},
			sequence{fmt.Sprintf("surrogate after %d letters", n), letters(n) + "\xed\xa0\x80", n + 2},
			sequence{fmt.Sprintf("cut after %d letters", n), letters(n) + "\xe2\x82", open},
			sequence{fmt.Sprintf("euro after %d letters", n), letters(n) + "€" + letters(3), 0})
	}
	return list
}
