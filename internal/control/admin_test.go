package control_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

func TestHistoryQueries(t *testing.T) {
	const bytes = 3 << 20
	for name, c := range map[string]struct {
		request *pushdv1.GetHistoryRequest
		target  string
		want    history.Query
	}{
		"user": {
			&pushdv1.GetHistoryRequest{TenantId: "acme", UserId: "ann"},
			"acme ann", history.Query{Limit: 100, Bytes: bytes},
		},
		"channel": {
			&pushdv1.GetHistoryRequest{TenantId: "acme", Channel: "room", Offset: "0", Limit: 1},
			"acme room", history.Query{Limit: 1, Bytes: bytes},
		},
		"channel that names its tenant": {
			&pushdv1.GetHistoryRequest{Channel: "tenant:acme:x", Offset: "18446744073709551615", Limit: 1000},
			"acme tenant:acme:x", history.Query{After: 1<<64 - 1, Limit: 1000, Bytes: bytes},
		},
		"public, reversed": {
			&pushdv1.GetHistoryRequest{Channel: "public:x", Reverse: true},
			" public:x", history.Query{Limit: 100, Bytes: bytes, Reverse: true},
		},
		"reversed from an offset": {
			&pushdv1.GetHistoryRequest{Channel: "public:x", Reverse: true, Offset: "1"},
			" public:x", history.Query{After: 1, Limit: 100, Bytes: bytes, Reverse: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var target address.Target
			var query history.Query
			f := start(t, control.Options{}, &router{onRead: func(x address.Target, q history.Query) (*history.Page, error) {
				target, query = x, q
				return &history.Page{Epoch: "e"}, nil
			}})
			answer, err := f.admin.GetHistory(within(t), c.request)
			if err != nil {
				t.Fatal(err)
			}
			if answer.GetEpoch() != "e" || len(answer.GetMessages()) != 0 || answer.GetNextOffset() != "" {
				t.Errorf("answer %v", answer)
			}
			got := target.Tenant().String() + " "
			if target.Kind() == address.KindUser {
				got += target.User().String()
			} else {
				got += target.Channel().String()
			}
			if got != c.target || query != c.want {
				t.Errorf("read %q with %+v", got, query)
			}
		})
	}
}

func TestHistoryAnswers(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	first := &message.Message{
		ID: message.NewID(), AcceptedAt: at, Deadline: at.Add(time.Hour), NotificationType: "orders",
		Position: message.Position{Epoch: "e", Offset: 17}, Payload: []byte(`{"type":"notification","data":1}`),
	}
	second := &message.Message{ID: message.NewID(), AcceptedAt: at, Position: message.Position{Epoch: "e", Offset: 23}, Payload: []byte(`{}`)}
	page := &history.Page{Epoch: "e", Messages: []*message.Message{first, second}}
	want := &pushdv1.GetHistoryResponse{Epoch: "e", Messages: []*pushdv1.HistoryMessage{
		{
			MessageId: first.ID.String(), Offset: "17", AcceptedAt: timestamppb.New(at), ExpiresAt: timestamppb.New(at.Add(time.Hour)),
			NotificationType: "orders", Json: `{"type":"notification","data":1}`,
		},
		{MessageId: second.ID.String(), Offset: "23", AcceptedAt: timestamppb.New(at), Json: `{}`},
	}}
	f := start(t, control.Options{}, &router{onRead: func(address.Target, history.Query) (*history.Page, error) { return page, nil }})
	for _, more := range []bool{false, true} {
		page.More = more
		if more {
			want.NextOffset = "23"
		}
		got, err := f.admin.GetHistory(within(t), &pushdv1.GetHistoryRequest{TenantId: "acme", UserId: "ann", Epoch: "e"})
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

func TestHistoryRefusals(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{}, r)
	for name, c := range map[string]struct {
		request *pushdv1.GetHistoryRequest
		reason  string
		fields  []string
	}{
		"nothing":           {&pushdv1.GetHistoryRequest{TenantId: "acme"}, "BAD_REQUEST", []string{"channel"}},
		"both":              {&pushdv1.GetHistoryRequest{TenantId: "acme", Channel: "a", UserId: "b"}, "BAD_REQUEST", []string{"user_id"}},
		"user only":         {&pushdv1.GetHistoryRequest{UserId: "b"}, "BAD_REQUEST", []string{"tenant_id"}},
		"bad user":          {&pushdv1.GetHistoryRequest{TenantId: "acme", UserId: "*"}, "BAD_REQUEST", []string{"user_id"}},
		"channel only":      {&pushdv1.GetHistoryRequest{Channel: "room"}, "BAD_REQUEST", []string{"tenant_id"}},
		"bad channel":       {&pushdv1.GetHistoryRequest{TenantId: "acme", Channel: "a::b"}, "INVALID_CHANNEL", []string{"channel"}},
		"other tenant":      {&pushdv1.GetHistoryRequest{TenantId: "acme", Channel: "tenant:other"}, "BAD_REQUEST", []string{"tenant_id"}},
		"limit":             {&pushdv1.GetHistoryRequest{Channel: "public:x", Limit: 1001}, "BAD_REQUEST", []string{"limit"}},
		"offset":            {&pushdv1.GetHistoryRequest{Channel: "public:x", Offset: "0x1"}, "BAD_REQUEST", []string{"offset"}},
		"offset, negative":  {&pushdv1.GetHistoryRequest{Channel: "public:x", Offset: "-1"}, "BAD_REQUEST", []string{"offset"}},
		"offset with zero":  {&pushdv1.GetHistoryRequest{Channel: "public:x", Offset: "01"}, "BAD_REQUEST", []string{"offset"}},
		"offset, too large": {&pushdv1.GetHistoryRequest{Channel: "public:x", Offset: "18446744073709551616"}, "BAD_REQUEST", []string{"offset"}},
		"before the first":  {&pushdv1.GetHistoryRequest{Channel: "public:x", Offset: "0", Reverse: true}, "BAD_REQUEST", []string{"offset"}},
		"everything":        {&pushdv1.GetHistoryRequest{Limit: 5000, Offset: "x"}, "BAD_REQUEST", []string{"channel", "limit", "offset"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.admin.GetHistory(within(t), c.request)
			checkRefusal(t, err, told{code: codes.InvalidArgument, reason: c.reason, fields: c.fields})
		})
	}
	if n := r.calls(); n != 0 {
		t.Errorf("%d refused requests reached the router", n)
	}
	for name, c := range map[string]struct {
		page *history.Page
		err  error
		want told
	}{
		"other epoch": {&history.Page{Epoch: "new"}, nil, told{code: codes.FailedPrecondition, reason: "UNRECOVERABLE"}},
		"not kept":    {nil, message.ErrNotStored, told{code: codes.FailedPrecondition, reason: "NOT_AVAILABLE"}},
		"away":        {nil, message.ErrUnavailable, told{code: codes.Unavailable, reason: "UNAVAILABLE", retry: true}},
		"unknown":     {nil, errors.New("secret detail"), told{code: codes.Internal, reason: "INTERNAL"}},
	} {
		t.Run(name, func(t *testing.T) {
			r.onRead = func(address.Target, history.Query) (*history.Page, error) { return c.page, c.err }
			_, err := f.admin.GetHistory(within(t), &pushdv1.GetHistoryRequest{Channel: "public:x", Epoch: "old"})
			checkRefusal(t, err, c.want)
			if strings.Contains(err.Error(), "secret detail") {
				t.Errorf("the caller is told %v", err)
			}
		})
	}
}
