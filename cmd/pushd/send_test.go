package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// Publish refuses payloads with the word "bad", and says nothing more after
// one with the word "silence".
func (r *recorder) Publish(s grpc.BidiStreamingServer[pushdv1.PublishRequest, pushdv1.PublishResponse]) error {
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.record(s.Context(), in); err != nil {
			return err
		}
		answer := &pushdv1.PublishResponse{Result: &pushdv1.PublishResponse_SendChannel{SendChannel: &pushdv1.SendChannelResponse{MessageId: "id"}}}
		text := in.String()
		if strings.Contains(text, "silence") {
			<-s.Context().Done()
			return nil
		}
		if strings.Contains(text, "bad") {
			st, err := status.New(codes.InvalidArgument, "invalid json").WithDetails(&errdetails.ErrorInfo{Domain: "pushd", Reason: "BAD_REQUEST"})
			if err != nil {
				return err
			}
			answer.Result = &pushdv1.PublishResponse_Refused{Refused: &pushdv1.Refusal{
				Code: st.Proto().GetCode(), Message: st.Proto().GetMessage(), Details: st.Proto().GetDetails(),
			}}
		}
		if err := s.Send(answer); err != nil {
			return err
		}
	}
}

func TestSendOptions(t *testing.T) {
	r, addr := startRecorder(t)
	env := variables{"PUSHD_SERVER": addr, "PUSHD_KEY_FILE": write(t, "the-key\n")}
	receipt := &pushdv1.ReceiptRequest{Level: pushdv1.ReceiptLevel_RECEIPT_LEVEL_ACKED, Timeout: durationpb.New(3 * time.Second)}
	options := []string{
		"--idempotency-key", "k1", "--ttl", "90s", "--exclude-connection", "01M8", "--store", "never",
		"--receipt", "acked", "--receipt-timeout", "3s",
	}
	ttl, never := durationpb.New(90*time.Second), pushdv1.Store_STORE_NEVER
	for _, c := range []struct {
		args []string
		want proto.Message
	}{
		{[]string{"user", "acme", "ann", "--json", "1"}, &pushdv1.NotifyUserRequest{
			TenantId: "acme", UserId: "ann", Payload: &pushdv1.NotifyUserRequest_Json{Json: "1"},
			IdempotencyKey: "k1", Ttl: ttl, ExcludeConnectionId: "01M8", Store: never, Receipt: receipt,
		}},
		{[]string{"tenant", "acme", "--type", "x", "--json", "1"}, &pushdv1.BroadcastTenantRequest{
			TenantId: "acme", EventType: "x", Payload: &pushdv1.BroadcastTenantRequest_Json{Json: "1"},
			IdempotencyKey: "k1", Ttl: ttl, ExcludeConnectionId: "01M8", Store: never, Receipt: receipt,
		}},
		{[]string{"channel", "public:x", "--raw", `{"type":"x"}`}, &pushdv1.SendChannelRequest{
			Channel: "public:x", Payload: &pushdv1.SendChannelRequest_Raw{Raw: `{"type":"x"}`},
			IdempotencyKey: "k1", Ttl: ttl, ExcludeConnectionId: "01M8", Store: never, Receipt: receipt,
		}},
		{[]string{"all", "--type", "x", "--json", "1"}, &pushdv1.BroadcastAllRequest{
			EventType: "x", Payload: &pushdv1.BroadcastAllRequest_Json{Json: "1"},
			IdempotencyKey: "k1", Ttl: ttl, ExcludeConnectionId: "01M8", Store: never, Receipt: receipt,
		}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			got := runCommand(t, "", env, append(append([]string{"send"}, c.args...), options...)...)
			if got.code != exitOK || got.out != "accepted id\n" {
				t.Fatalf("got %+v", got)
			}
			if sent, ok := r.last.(proto.Message); !ok || !proto.Equal(sent, c.want) {
				t.Errorf("got  %v\nwant %v", r.last, c.want)
			}
			// Nothing is asked for that was not given.
			if got := runCommand(t, "", env, append([]string{"send"}, c.args...)...); got.code != exitOK {
				t.Fatalf("got %+v", got)
			}
			if text := fmt.Sprint(r.last); strings.Contains(text, "receipt") || strings.Contains(text, "ttl") || strings.Contains(text, "store") {
				t.Errorf("got %s", text)
			}
		})
	}
}

func TestSendUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"store":           {[]string{"--store", "sometimes"}, "must be rule, always or never"},
		"receipt":         {[]string{"--receipt", "read"}, "must be queued, written or acked"},
		"ttl":             {[]string{"--ttl", "long"}, "invalid argument"},
		"timeout alone":   {[]string{"--receipt-timeout", "2s"}, "--receipt-timeout needs --receipt"},
		"stream and json": {[]string{"--stream"}, "--stream excludes --json"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runCommand(t, "", nil, append([]string{"send", "user", "acme", "ann", "--json", "1"}, c.args...)...)
			if got.code != exitUsage || !strings.Contains(got.err, c.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"raw":     {[]string{"--raw", "{}"}, "--stream excludes --raw"},
		"key":     {[]string{"--idempotency-key", "k"}, "--stream excludes --idempotency-key"},
		"receipt": {[]string{"--receipt", "acked"}, "--stream excludes --receipt"},
		"timeout": {[]string{"--timeout", "0s"}, "--timeout must be positive"},
	} {
		t.Run("stream and "+name, func(t *testing.T) {
			got := runCommand(t, "", nil, append([]string{"send", "all", "--stream"}, c.args...)...)
			if got.code != exitUsage || !strings.Contains(got.err, c.want) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestSendAnswers(t *testing.T) {
	r, addr := startRecorder(t)
	env := variables{"PUSHD_SERVER": addr, "PUSHD_KEY_FILE": write(t, "the-key\n")}
	r.answer = &pushdv1.NotifyUserResponse{
		MessageId: "id", Offset: "17", Epoch: "e\x1b", Duplicate: true,
		Receipt: &pushdv1.Receipt{
			NodesAsked: 3, NodesAnswered: 2, MissingNodes: []string{"n3"},
			Counts: &pushdv1.ReceiptCounts{
				Queued: 1, Written: 2, Acked: 3, Excluded: 4, Expired: 5, Unknown: 9,
				Dropped: &pushdv1.ReceiptDrops{SlowConsumer: 6, Gone: 7, Overloaded: 8},
			},
			Connections: []*pushdv1.ReceiptRow{
				{ConnectionId: "c1", Node: "n1", Outcome: pushdv1.ReceiptOutcome_RECEIPT_OUTCOME_SLOW_CONSUMER},
				{ConnectionId: "c22", Node: "n2"},
			},
		},
	}
	got := runCommand(t, "", env, "send", "user", "acme", "ann", "--json", "1", "--receipt", "acked")
	const want = `accepted id
sent before with this key, not again now
stored at offset 17 of epoch e\u001b
connections: 3 acked, 2 written, 1 queued, 4 excluded, 5 expired, 6 slow consumers, 7 gone, 8 dropped by an overloaded node, 9 unknown
nodes: 2 of 3 answered, not n3
incomplete: not all was heard of in time

CONNECTION  NODE  OUTCOME
c1          n1    slow_consumer
c22         n2    unknown
`
	if got.code != exitOK || got.out != want {
		t.Errorf("got %+v\n%s", got, got.out)
	}
	r.answer = &pushdv1.NotifyUserResponse{MessageId: "id", Receipt: &pushdv1.Receipt{Complete: true, NodesAsked: 1, NodesAnswered: 1}}
	got = runCommand(t, "", env, "send", "user", "acme", "ann", "--json", "1", "--receipt", "acked")
	if got.out != "accepted id\nconnections: none\nnodes: 1 of 1 answered\n" {
		t.Errorf("got %+v", got)
	}
	got = runCommand(t, "", env, "send", "user", "acme", "ann", "--json", "1", "--receipt", "acked", "-o", "json")
	if !strings.Contains(got.out, `"complete":true`) || !strings.Contains(got.out, `"nodes_asked":1`) || strings.Count(got.out, "\n") != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestSendStream(t *testing.T) {
	r, addr := startRecorder(t)
	env := variables{"PUSHD_SERVER": addr, "PUSHD_KEY_FILE": write(t, "the-key\n")}
	stream := func(in string, args ...string) result {
		return runCommand(t, in, env, append([]string{"send", "channel", "public:x", "--stream"}, args...)...)
	}
	got := stream("{\"a\":1}\n\n  {\"a\":2}\r\n{\"a\":3}", "--type", "x", "--ttl", "5s")
	if got.code != exitOK || got.out != "accepted 3 of 3 messages\n" || got.err != "" {
		t.Errorf("got %+v", got)
	}
	want := &pushdv1.PublishRequest{Command: &pushdv1.PublishRequest_SendChannel{SendChannel: &pushdv1.SendChannelRequest{
		Channel: "public:x", EventType: "x", Ttl: durationpb.New(5 * time.Second), Payload: &pushdv1.SendChannelRequest_Json{Json: `{"a":3}`},
	}}}
	if last, ok := r.last.(proto.Message); !ok || !proto.Equal(last, want) {
		t.Errorf("got %v", r.last)
	}

	got = stream(`{"type":"x"}`, "-o", "json")
	if got.code != exitOK || got.out != `{"accepted":1,"refused":0,"unanswered":0}`+"\n" {
		t.Errorf("got %+v", got)
	}
	if last, ok := r.last.(*pushdv1.PublishRequest); !ok || last.GetSendChannel().GetRaw() != `{"type":"x"}` {
		t.Errorf("got %v", r.last)
	}

	got = stream("1\nbad\n\n3\n"+strings.Repeat("bad\n", 12), "--type", "x")
	if got.code != exitFailure || got.out != "accepted 2 of 15 messages, refused 13\n" ||
		!strings.Contains(got.err, "line 2: invalid json (InvalidArgument, BAD_REQUEST)") || !strings.Contains(got.err, "line 13: ") ||
		strings.Contains(got.err, "line 14: ") || strings.Count(got.err, "more refusals are only counted") != 1 {
		t.Errorf("got %+v", got)
	}

	got = stream("1\nsilence\n", "--type", "x", "--timeout", "2s")
	if got.code != exitFailure || !strings.HasPrefix(got.out, "accepted 1 of 2 messages, no answer to 1") || !strings.Contains(got.err, "no answer within 2s") {
		t.Errorf("got %+v", got)
	}

	got = runCommand(t, "1\n", variables{"PUSHD_SERVER": addr}, "send", "user", "acme", "ann", "--stream")
	if got.code != exitFailure || !strings.Contains(got.err, "Unauthenticated") {
		t.Errorf("without a key: %+v", got)
	}
}

func TestHistory(t *testing.T) {
	r, addr := startRecorder(t)
	env := variables{"PUSHD_SERVER": addr, "PUSHD_KEY_FILE": write(t, "the-key\n")}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	r.history = &pushdv1.GetHistoryResponse{Epoch: "e1"}
	got := runCommand(t, "", env, "history", "user", "acme", "ann")
	if got.code != exitOK || got.out != "no messages\nepoch e1\n" {
		t.Errorf("got %+v", got)
	}
	if last, ok := r.last.(proto.Message); !ok || !proto.Equal(last, &pushdv1.GetHistoryRequest{TenantId: "acme", UserId: "ann"}) {
		t.Errorf("asked for %v", r.last)
	}

	r.history = &pushdv1.GetHistoryResponse{Epoch: "e1", NextOffset: "23", Messages: []*pushdv1.HistoryMessage{
		{MessageId: "m1", Offset: "17", AcceptedAt: timestamppb.New(at), ExpiresAt: timestamppb.New(at.Add(time.Hour)), Json: "{\"a\":\"\u202e\"}"},
		{MessageId: "m2", Offset: "23", AcceptedAt: timestamppb.New(at), Json: `{}`},
	}}
	args := []string{"history", "channel", "orders", "--tenant", "acme", "--reverse", "--limit", "2", "--offset", "30", "--epoch", "e1"}
	got = runCommand(t, "", env, args...)
	const want = `OFFSET  ACCEPTED             EXPIRES              ID  MESSAGE
17      2026-01-02 03:04:05  2026-01-02 04:04:05  m1  {"a":"\u202e"}
23      2026-01-02 03:04:05  -                    m2  {}
epoch e1, more with --offset 23 --epoch e1
`
	if got.code != exitOK || got.out != want {
		t.Errorf("got %+v\n%s", got, got.out)
	}
	if last, ok := r.last.(proto.Message); !ok || !proto.Equal(last, &pushdv1.GetHistoryRequest{
		TenantId: "acme", Channel: "orders", Reverse: true, Limit: 2, Offset: "30", Epoch: "e1",
	}) {
		t.Errorf("asked for %v", r.last)
	}
	got = runCommand(t, "", env, append(args, "-o", "json")...)
	if got.code != exitOK || strings.Count(got.out, "\n") != 1 || !strings.Contains(got.out, `"next_offset":"23"`) || !strings.Contains(got.out, `"message_id":"m2"`) {
		t.Errorf("got %+v", got)
	}
}
