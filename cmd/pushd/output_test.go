package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain, ünï":      "plain, ünï",
		"\x1b[2Jgone":     `\u001b[2Jgone`,
		"two\nlines":      `two\u000alines`,
		"csi \u009b31m":   `csi \u009b31m`,
		"turn \u202eback": `turn \u202eback`,
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestReadableMessage(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for in, want := range map[string]string{
		`{"type":"pong","data":{"a":1}}`:             "03:04:05.006  pong              {\"a\":1}",
		`{"type":"raw","title":"x"}`:                 "03:04:05.006  raw               {\"type\":\"raw\",\"title\":\"x\"}",
		`nonsense`:                                   "03:04:05.006  nonsense",
		"{\"type\":\"a\\u001bb\",\"data\":\"\x7f\"}": "03:04:05.006  a\\u001bb          \"\\u007f\"",
	} {
		if got := readableMessage([]byte(in), now); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	c := &client{Server: "127.0.0.1:9090", Timeout: time.Second}
	bad, err := status.New(codes.InvalidArgument, "bad request").WithDetails(
		&errdetails.ErrorInfo{Reason: "BAD_REQUEST", Domain: "pushd"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "tenant_id", Description: "must not be empty"}, {Field: "payload", Description: "is not JSON"},
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	plain := errors.New("disk full")
	for name, c2 := range map[string]struct {
		err  error
		want string
	}{
		"fields": {bad.Err(), "bad request (InvalidArgument, BAD_REQUEST)\n  tenant_id: must not be empty\n  payload: is not JSON"},
		"away":   {status.Error(codes.Unavailable, "refused"), "refused (Unavailable)\n  Is pushd serving at 127.0.0.1:9090? Another address is given by --server."},
		"hung up": {
			status.Error(codes.Unavailable, "write: broken pipe"),
			"write: broken pipe (Unavailable)\n  The server hung up: does it want --tls, or are its connections used up (--grpc-max-connections)?",
		},
		"no key":  {status.Error(codes.Unauthenticated, "who?"), "who? (Unauthenticated)\n  A bearer key is given by --key-file."},
		"slow":    {status.Error(codes.DeadlineExceeded, "late"), "late (DeadlineExceeded)\n  No answer within 1s; a longer wait is given by --timeout."},
		"escapes": {status.Error(codes.Internal, "\x1b[31m"), `\u001b[31m (Internal)`},
		"no gRPC": {plain, "disk full"},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.explain(c2.err)
			if got.Error() != c2.want {
				t.Errorf("got %q, want %q", got, c2.want)
			}
			if !errors.Is(got, c2.err) {
				t.Error("the cause is lost")
			}
		})
	}
}

func TestCloseMeaning(t *testing.T) {
	for code, want := range map[ws.StatusCode]string{
		1000: "normal end", 1001: "going away", 1002: "did not understand", 1009: "too large", 1011: "fault", 1005: "no reason",
		4000: "reconnect now", 4099: "reconnect now", 4101: "back off", 4201: "new token", 4303: "do not reconnect", 4999: "unknown",
	} {
		if got := (&closedError{code, "why"}).Error(); !strings.Contains(got, want) || !strings.Contains(got, "why") {
			t.Errorf("%d: got %q, want %q", code, got, want)
		}
	}
}

func TestStatsTable(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	totals := &pushdv1.StatsTotals{Connections: 3, Users: 2, Tenants: 1, Channels: 1, MessagesIn: 5, MessagesOut: 6, BytesIn: 7, BytesOut: 8, Dropped: 9}
	got := statsTable(&pushdv1.StatsResponse{
		AsOf: timestamppb.New(at), MissingNodes: []string{"n2"}, Totals: totals,
		Nodes: []*pushdv1.StatsNode{
			{Name: "n1", Version: "v1", StartedAt: timestamppb.New(at.Add(-time.Hour)), State: pushdv1.NodeState_NODE_STATE_READY, Totals: totals},
			{Name: "n2", StartedAt: timestamppb.New(at), State: pushdv1.NodeState_NODE_STATE_DEAD},
		},
		Tenants:           []*pushdv1.StatsTenant{{TenantId: "a\x1bcme", Connections: 3, Users: 2, Channels: 1}},
		Channels:          []*pushdv1.StatsChannel{{Channel: "public:news", Connections: 2}},
		TruncatedChannels: 4,
	})
	want := `2026-01-02 03:04:05  3 connections, 2 users, 1 tenants, 1 channels
in  5 messages, 7 bytes
out 6 messages, 8 bytes, 9 dropped
incomplete: no figures from n2

NODE  STATE  VERSION  UP      CONNECTIONS
n1    ready  v1       1h0m0s  3
n2    dead   -        0s      0

TENANT      CONNECTIONS  USERS  CHANNELS
a\u001bcme  3            2      1

CHANNEL      TENANT  CONNECTIONS
public:news  -       2
and 4 more
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPrintableKeepsJSON: escaped, a JSON text still says the same.
func TestPrintableKeepsJSON(t *testing.T) {
	for _, text := range []string{"plain", "\u009b31mX\u202e", "\U000e0001tag", "\u007f", "日本語"} {
		raw, err := json.Marshal(map[string]string{"a": text})
		if err != nil {
			t.Fatal(err)
		}
		shown := printable(string(raw))
		if i := strings.IndexFunc(shown, unprintable); i >= 0 {
			t.Errorf("%q: unprintable at %d", shown, i)
		}
		var back map[string]string
		if err := json.Unmarshal([]byte(shown), &back); err != nil || back["a"] != text {
			t.Errorf("%q came back as %q, %v", text, back["a"], err)
		}
	}
}
