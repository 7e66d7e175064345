package edge

import (
	"testing"
	"time"
	"unsafe"
)

func TestMoment(t *testing.T) {
	for name, c := range map[string]struct {
		at   time.Duration
		want moment
	}{
		"the start is not never": {0, 1},
		"before the start":       {-time.Hour, 1},
		"rounded up":             {1, 1},
		"whole":                  {time.Second, 16},
		"just over":              {time.Second + 1, 17},
		"eight years":            {8 * 365 * 24 * time.Hour, 8 * 365 * 24 * 3600 * 16},
	} {
		m := momentOf(c.at)
		if m != c.want {
			t.Errorf("%s: got %d, want %d", name, m, c.want)
		}
		if late := m.time() - max(0, c.at); late < 0 || late > momentStep {
			t.Errorf("%s: %s became %s", name, c.at, m.time())
		}
	}
}

// TestConnIsSmall: a connection fits the allocator's class of 160 bytes.
func TestConnIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 160 {
		t.Errorf("a connection takes %d bytes", n)
	}
}
