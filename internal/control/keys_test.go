package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aegisx/pushd/internal/control"
)

func TestParseKeys(t *testing.T) {
	one, two := strings.Repeat("1", 32), strings.Repeat("2", 32)
	for name, c := range map[string]struct {
		text  string
		names []string
	}{
		"nothing":         {"", nil},
		"comments":        {"# keys\n\n  # more\n\t\n", nil},
		"one":             {one, []string{"line 1"}},
		"two and names":   {"# keys\nbilling " + one + "\r\n\n" + two + "\n", []string{"billing", "line 4"}},
		"tab and spaces":  {"  billing \t " + one + "  \n", []string{"billing"}},
		"one name twice":  {"a " + one + "\na " + two, []string{"a", "a"}},
		"all visible":     {"!#$%&'()*+,-./0123:;<=>?@[]^_`{|}~\"\\", []string{"line 1"}},
		"longest":         {strings.Repeat("n", 31) + " " + strings.Repeat("k", 1024), []string{strings.Repeat("n", 31)}},
		"most":            {manyKeys(1000), nil},
		"no line at end":  {one + "\n" + two, []string{"line 1", "line 2"}},
		"key like a name": {"a " + strings.Repeat("a", 32), []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := control.ParseKeys(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if name == "most" {
				if len(keys) != 1000 {
					t.Errorf("got %d keys", len(keys))
				}
				return
			}
			if len(keys) != len(c.names) {
				t.Fatalf("got %d keys, want %d", len(keys), len(c.names))
			}
			for n, k := range keys {
				if k.String() != c.names[n] {
					t.Errorf("key %d is called %q, want %q", n, k, c.names[n])
				}
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%032d\n", i)
	}
	return b.String()
}

func TestParseKeysRefuses(t *testing.T) {
	key := strings.Repeat("K", 32)
	for name, c := range map[string]struct{ text, want string }{
		"short":             {"# x\n" + key[1:], "line 2: key must have at least 32"},
		"short with name":   {"billing " + key[1:], "line 1: key must have at least 32"},
		"long":              {strings.Repeat("K", 1025), "line 1: key must have at most 1024"},
		"three words":       {"a b " + key, "line 1: must be KEY or NAME KEY"},
		"comment behind":    {key + " # mine", "line 1: must be"},
		"long name":         {key + " " + key, "line 1: name must have at most 31"},
		"twice":             {key + "\n\na " + key, "line 3: same key as line 1"},
		"control":           {key + "\x00", "line 1: must be visible ASCII"},
		"not ASCII":         {key + "é", "line 1: must be visible ASCII"},
		"byte order mark":   {"\ufeff" + key, "line 1: must be visible ASCII"},
		"bare CR":           {key + "\r" + key, "line 1: must be visible ASCII"},
		"too many":          {manyKeys(1001), "line 1001: more than 1000 keys"},
		"too long a file":   {strings.Repeat("#\n", 1<<19) + "#", "more than 1048576 bytes"},
		"name not ASCII":    {"é " + key, "line 1: must be visible ASCII"},
		"only short things": {"a b", "line 1: key must have"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := control.ParseKeys(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "KKK") {
				t.Errorf("the error quotes the key: %v", err)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := control.ParseKeys(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// Printing a key does not show it.
func TestKeyIsNotPrinted(t *testing.T) {
	keys := mustKeys(t, "billing "+goodKey)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, keys); strings.Contains(text, goodKey) {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("# keys\nbilling " + goodKey + "\r\n\n" + strings.Repeat("x", 32))
	f.Add("a b c")
	f.Add("\xff\x00")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := control.ParseKeys(strings.NewReader(text))
		if err != nil {
			if keys != nil {
				t.Error("keys and an error")
			}
			for word := range strings.FieldsSeq(text) {
				if len(word) >= 32 && strings.Contains(err.Error(), word) {
					t.Errorf("the error quotes %q: %v", word, err)
				}
			}
			return
		}
		if len(keys) > strings.Count(text, "\n")+1 {
			t.Errorf("%d keys in %q", len(keys), text)
		}
		again, err := control.ParseKeys(strings.NewReader(text + "\n# end"))
		if err != nil && len(text) < 1<<20-10 || err == nil && len(again) != len(keys) {
			t.Errorf("a comment changes the result: %d, then %d keys, %v", len(keys), len(again), err)
		}
	})
}
