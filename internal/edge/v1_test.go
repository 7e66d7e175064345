package edge_test

import (
	"strings"
	"testing"
)

// The transcripts in testdata/v1json freeze pushd.v1.json; TestPlainTranscripts
// says how they are written.
func TestJSONTranscripts(t *testing.T) {
	playTranscripts(t, "v1json", jsonDialect, nil)
}

// TestProtoTranscripts: the same session has the same meaning in pushd.v1.proto,
// but for what only JSON can get wrong.
func TestProtoTranscripts(t *testing.T) {
	playTranscripts(t, "v1json", protoDialect, func(name string) bool { return strings.HasPrefix(name, "json-") })
}
