package control

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
)

// Of the W3C trace context: version, trace id, parent id and flags in
// lower-case hex, split by '-'.
const (
	traceBytes  = 55
	traceIDAt   = 3
	traceIDEnd  = 35
	parentIDAt  = 36
	parentIDEnd = 52
	flagsAt     = 53
)

// traceParent returns the caller's trace context; empty if there is none, more
// than one, or one that is malformed.
func traceParent(ctx context.Context) string {
	values := metadata.ValueFromIncomingContext(ctx, "traceparent")
	if len(values) != 1 || !isTraceParent(values[0]) {
		return ""
	}
	return values[0]
}

func isTraceParent(s string) bool {
	if len(s) != traceBytes || s[traceIDAt-1] != '-' || s[traceIDEnd] != '-' || s[parentIDEnd] != '-' {
		return false
	}
	version, trace, parent := s[:traceIDAt-1], s[traceIDAt:traceIDEnd], s[parentIDAt:parentIDEnd]
	return isHex(version) && version != "ff" &&
		isHex(trace) && strings.Trim(trace, "0") != "" &&
		isHex(parent) && strings.Trim(parent, "0") != "" &&
		isHex(s[flagsAt:])
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}
