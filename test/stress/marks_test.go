package stress_test

import (
	"bytes"
	"fmt"
	"testing"
)

// Whatever is sent in these tests carries a mark: @t3@ of a tenant, @t3.u17@ of
// a user, @t3.u17.c205@ of one connection. What carries another's mark has gone
// to the wrong one.

// tenantName names a tenant, and tenantMark marks what is for all of it.
func tenantName(tenant int) string { return fmt.Sprintf("t%d", tenant) }
func tenantMark(tenant int) string { return "@" + tenantName(tenant) + "@" }

// userName names a user of a tenant; other tenants have users of the same name.
func userName(user int) string { return fmt.Sprintf("u%d", user) }

// userMark marks what is for one user, connectionMark what is for one
// connection.
func userMark(tenant, user int) string { return fmt.Sprintf("@t%d.u%d@", tenant, user) }
func connectionMark(tenant, user int, connection int64) string {
	return fmt.Sprintf("@t%d.u%d.c%d@", tenant, user, connection)
}

// checkMarks returns a *wrongError if text carries a mark that is not one of
// own, or none where it must carry one.
func checkMarks(text []byte, own ...string) error {
	found := 0
	for rest := text; ; found++ {
		begin := bytes.IndexByte(rest, '@')
		if begin < 0 {
			break
		}
		size := bytes.IndexByte(rest[begin+1:], '@')
		if size < 0 {
			return &wrongError{fmt.Sprintf("half a mark in %q", text)}
		}
		end := begin + size + 2
		if !contains(own, rest[begin:end]) {
			return &wrongError{fmt.Sprintf("the client of %v got %q", own, text)}
		}
		rest = rest[end:]
	}
	if found == 0 && !bytes.HasPrefix(text, []byte(`{"type":"connection",`)) {
		return &wrongError{fmt.Sprintf("no mark in %q", text)}
	}
	return nil
}

func contains(own []string, mark []byte) bool {
	for _, o := range own {
		if o == string(mark) {
			return true
		}
	}
	return false
}

func TestCheckMarks(t *testing.T) {
	own := []string{tenantMark(1), userMark(1, 2), connectionMark(1, 2, 3)}
	for text, good := range map[string]bool{
		`{"type":"connection","data":{}}`:            true,
		`{"type":"pong","id":"@t1.u2.c3@"}`:          true,
		`{"type":"news","data":"@t1@ and @t1.u2@"}`:  true,
		`{"type":"news","data":""}`:                  false,
		`{"type":"news","data":"@t1@ and @t1.u22@"}`: false,
		`{"type":"news","data":"@t2@"}`:              false,
		`{"type":"pong","id":"@t1.u2.c33@"}`:         false,
		`{"type":"news","data":"@t1"}`:               false,
	} {
		if err := checkMarks([]byte(text), own...); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}
