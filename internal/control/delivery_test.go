package control_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/message"
)

// choices are the options of a request.
type choices struct {
	key     string
	ttl     *durationpb.Duration
	exclude string
	store   pushdv1.Store
	receipt *pushdv1.ReceiptRequest
}

// requests returns a good request of each kind with these options.
func (o choices) requests() map[string]proto.Message {
	user, tenant := notify("acme", "ann", "", "1"), broadcast("acme", "x", "1")
	channel, everybody := send("acme", "room"), all("x", "1")
	user.IdempotencyKey, user.Ttl, user.ExcludeConnectionId, user.Store, user.Receipt = o.key, o.ttl, o.exclude, o.store, o.receipt
	tenant.IdempotencyKey, tenant.Ttl, tenant.ExcludeConnectionId, tenant.Store, tenant.Receipt = o.key, o.ttl, o.exclude, o.store, o.receipt
	channel.IdempotencyKey, channel.Ttl, channel.ExcludeConnectionId, channel.Store, channel.Receipt = o.key, o.ttl, o.exclude, o.store, o.receipt
	everybody.IdempotencyKey, everybody.Ttl, everybody.ExcludeConnectionId, everybody.Store, everybody.Receipt = o.key, o.ttl, o.exclude, o.store, o.receipt
	return map[string]proto.Message{"user": user, "tenant": tenant, "channel": channel, "all": everybody}
}

// eachWay runs do for each kind of request, as a call and on a stream.
func eachWay(t *testing.T, f *fixture, o choices, do func(t *testing.T, kind string, err error)) {
	t.Helper()
	requests := o.requests()
	for _, kind := range slices.Sorted(maps.Keys(requests)) {
		t.Run(kind, func(t *testing.T) {
			_, err := invoke(within(t), f.api, requests[kind])
			do(t, kind, err)
		})
		t.Run(kind+" on a stream", func(t *testing.T) { do(t, kind, oneByStream(t, f, requests[kind])) })
	}
}

func level(l pushdv1.ReceiptLevel, timeout time.Duration) *pushdv1.ReceiptRequest {
	r := &pushdv1.ReceiptRequest{Level: l}
	if timeout != 0 {
		r.Timeout = durationpb.New(timeout)
	}
	return r
}

const (
	noLevel   = pushdv1.ReceiptLevel_RECEIPT_LEVEL_UNSPECIFIED
	queued    = pushdv1.ReceiptLevel_RECEIPT_LEVEL_QUEUED
	written   = pushdv1.ReceiptLevel_RECEIPT_LEVEL_WRITTEN
	acked     = pushdv1.ReceiptLevel_RECEIPT_LEVEL_ACKED
	always    = pushdv1.Store_STORE_ALWAYS
	never     = pushdv1.Store_STORE_NEVER
	month     = 30 * 24 * time.Hour
	excluded  = "01M89DTBD87TVWD9ZKDJNWM70C"
	onlyOfAll = "tenant all" // kinds without a history
)

func TestRefusedOptions(t *testing.T) {
	keeping, plain := &router{keeps: true}, &router{}
	keeps, lives := start(t, control.Options{}, keeping), start(t, control.Options{}, plain)
	for name, c := range map[string]struct {
		given  choices
		fields []string
		kinds  string // "": all of them
		kept   bool   // the targets have a history
	}{
		"long key":              {given: choices{key: strings.Repeat("k", 65)}, fields: []string{"idempotency_key"}},
		"long key in bytes":     {given: choices{key: strings.Repeat("é", 33)}, fields: []string{"idempotency_key"}},
		"key with line":         {given: choices{key: "a\nb"}, fields: []string{"idempotency_key"}},
		"key with C1":           {given: choices{key: "a\u0085b"}, fields: []string{"idempotency_key"}},
		"no time to live":       {given: choices{ttl: durationpb.New(0)}, fields: []string{"ttl"}},
		"negative ttl":          {given: choices{ttl: durationpb.New(-time.Second)}, fields: []string{"ttl"}},
		"short ttl":             {given: choices{ttl: durationpb.New(time.Millisecond - 1)}, fields: []string{"ttl"}},
		"long ttl":              {given: choices{ttl: durationpb.New(month + 1)}, fields: []string{"ttl"}},
		"huge ttl":              {given: choices{ttl: &durationpb.Duration{Seconds: 1 << 62}}, fields: []string{"ttl"}},
		"torn ttl":              {given: choices{ttl: &durationpb.Duration{Seconds: 2, Nanos: -1}}, fields: []string{"ttl"}},
		"short ttl, kept":       {given: choices{ttl: durationpb.New(time.Second - 1)}, fields: []string{"ttl"}, kept: true},
		"short ttl, stored":     {given: choices{ttl: durationpb.New(time.Second - 1), store: always}, fields: []string{"ttl"}, kinds: "user channel"},
		"excludes nonsense":     {given: choices{exclude: "x"}, fields: []string{"exclude_connection_id"}},
		"excludes no ULID":      {given: choices{exclude: strings.Repeat("u", 26)}, fields: []string{"exclude_connection_id"}},
		"excludes nobody":       {given: choices{exclude: strings.Repeat("0", 26)}, fields: []string{"exclude_connection_id"}},
		"store no value":        {given: choices{store: 3}, fields: []string{"store"}},
		"store negative":        {given: choices{store: -1}, fields: []string{"store"}},
		"stored for many":       {given: choices{store: always}, fields: []string{"store"}, kinds: onlyOfAll},
		"no level":              {given: choices{receipt: level(noLevel, time.Second)}, fields: []string{"receipt.level"}},
		"unknown level":         {given: choices{receipt: level(4, 0)}, fields: []string{"receipt.level"}},
		"short timeout":         {given: choices{receipt: level(queued, time.Millisecond-1)}, fields: []string{"receipt.timeout"}},
		"long timeout":          {given: choices{receipt: level(acked, 30*time.Second+1)}, fields: []string{"receipt.timeout"}},
		"zero timeout":          {given: choices{receipt: &pushdv1.ReceiptRequest{Level: queued, Timeout: &durationpb.Duration{}}}, fields: []string{"receipt.timeout"}},
		"torn timeout":          {given: choices{receipt: &pushdv1.ReceiptRequest{Level: queued, Timeout: &durationpb.Duration{Nanos: 2e9}}}, fields: []string{"receipt.timeout"}},
		"level and timeout bad": {given: choices{receipt: level(-1, -1)}, fields: []string{"receipt.level", "receipt.timeout"}},
		"everything": {
			given:  choices{key: "\x00", ttl: durationpb.New(-1), exclude: "x", store: 9, receipt: level(9, -1)},
			fields: []string{"exclude_connection_id", "idempotency_key", "receipt.level", "receipt.timeout", "store", "ttl"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := lives
			if c.kept {
				f = keeps
			}
			eachWay(t, f, c.given, func(t *testing.T, kind string, err error) {
				if c.kinds == "" || slices.Contains(strings.Fields(c.kinds), kind) {
					checkRefusal(t, err, told{code: codes.InvalidArgument, reason: "BAD_REQUEST", fields: c.fields})
				}
			})
		})
	}
	// Options are told together with what else is wrong.
	bad := notify("", "ann", "", "{")
	bad.Store, bad.Ttl, bad.IdempotencyKey = 7, durationpb.New(1), "\x7f"
	_, err := invoke(within(t), keeps.api, bad)
	checkRefusal(t, err, told{code: codes.InvalidArgument, reason: "BAD_REQUEST", fields: []string{"idempotency_key", "json", "store", "tenant_id", "ttl"}})
	if n := keeping.calls(); n != 0 {
		t.Errorf("%d refused requests reached the router", n)
	}
}

func TestOptionsReachTheMessage(t *testing.T) {
	id, err := message.ParseID(excluded)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		given choices
		keeps bool
		kinds string // "": all of them
		want  message.Message
		ttl   time.Duration
	}{
		"nothing":            {},
		"key":                {given: choices{key: strings.Repeat("k", 64)}, want: message.Message{Key: strings.Repeat("k", 64)}},
		"key of a byte":      {given: choices{key: " "}, want: message.Message{Key: " "}},
		"shortest ttl":       {given: choices{ttl: durationpb.New(time.Millisecond)}, ttl: time.Millisecond},
		"longest ttl":        {given: choices{ttl: durationpb.New(month)}, ttl: month},
		"shortest kept":      {given: choices{ttl: durationpb.New(time.Second)}, keeps: true, ttl: time.Second},
		"short and unstored": {given: choices{ttl: durationpb.New(time.Millisecond), store: never}, keeps: true, want: message.Message{Store: message.StoreNever}, ttl: time.Millisecond},
		"exclude":            {given: choices{exclude: excluded}, want: message.Message{Exclude: id}},
		"never":              {given: choices{store: never}, want: message.Message{Store: message.StoreNever}},
		"always":             {given: choices{store: always}, kinds: "user channel", want: message.Message{Store: message.StoreAlways}},
		"no receipt":         {given: choices{receipt: &pushdv1.ReceiptRequest{}}},
		"queued":             {given: choices{receipt: level(queued, 0)}, want: message.Message{Receipt: message.ReceiptRequest{Level: message.LevelQueued, Timeout: time.Second}}},
		"written":            {given: choices{receipt: level(written, time.Millisecond)}, want: message.Message{Receipt: message.ReceiptRequest{Level: message.LevelWritten, Timeout: time.Millisecond}}},
		"acked":              {given: choices{receipt: level(acked, 30*time.Second)}, want: message.Message{Receipt: message.ReceiptRequest{Level: message.LevelAcked, Timeout: 30 * time.Second}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &router{keeps: c.keeps}
			f := start(t, control.Options{}, r)
			eachWay(t, f, c.given, func(t *testing.T, kind string, err error) {
				if c.kinds != "" && !slices.Contains(strings.Fields(c.kinds), kind) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				m := r.last(t)
				if m.Key != c.want.Key || m.Exclude != c.want.Exclude || m.Store != c.want.Store || m.Receipt != c.want.Receipt {
					t.Errorf("got %+v", m)
				}
				if c.ttl == 0 && !m.Deadline.IsZero() || c.ttl != 0 && m.Deadline.Sub(m.AcceptedAt) != c.ttl {
					t.Errorf("accepted at %s, deadline %s", m.AcceptedAt, m.Deadline)
				}
			})
		})
	}
}

// answered is what all four answers say.
type answered interface {
	GetMessageId() string
	GetOffset() string
	GetEpoch() string
	GetDuplicate() bool
	GetReceipt() *pushdv1.Receipt
}

// Whatever the router answers is told, by each call and on the stream.
func TestAnswers(t *testing.T) {
	id := message.NewID()
	for name, c := range map[string]struct {
		accepted message.Accepted
		want     string
	}{
		"id only":                   {message.Accepted{ID: id}, fmt.Sprint(id, "  false <nil>")},
		"stored":                    {message.Accepted{ID: id, Position: message.Position{Epoch: "e1", Offset: 1 << 63}}, fmt.Sprint(id, " 9223372036854775808 e1 false <nil>")},
		"duplicate":                 {message.Accepted{ID: id, Position: message.Position{Epoch: "e", Offset: 7}, Duplicate: true}, fmt.Sprint(id, " 7 e true <nil>")},
		"duplicate of what is gone": {message.Accepted{Position: message.Position{Epoch: "e", Offset: 7}, Duplicate: true}, " 7 e true <nil>"},
		"receipt":                   {message.Accepted{ID: id, Receipt: &message.Receipt{Asked: 3, Answered: 1, Missing: []string{"a", "b"}}}, fmt.Sprint(id, "  false 3 1 [a b]")},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, control.Options{}, &router{answer: &c.accepted})
			check := func(a answered) {
				t.Helper()
				got := fmt.Sprint(a.GetMessageId(), " ", a.GetOffset())
				if a.GetEpoch() != "" {
					got += " " + a.GetEpoch()
				}
				got += fmt.Sprint(" ", a.GetDuplicate())
				if r := a.GetReceipt(); r != nil {
					got += fmt.Sprint(" ", r.GetNodesAsked(), " ", r.GetNodesAnswered(), " ", r.GetMissingNodes())
				} else {
					got += " <nil>"
				}
				if got != c.want {
					t.Errorf("%T: got %q, want %q", a, got, c.want)
				}
			}
			s := publish(t, f)
			ctx := within(t)
			for _, r := range (choices{}).requests() {
				put(t, s, r)
				streamed := next(t, s)
				var called answered
				var err error
				switch r := r.(type) {
				case *pushdv1.NotifyUserRequest:
					called, err = f.api.NotifyUser(ctx, r)
					check(streamed.GetNotifyUser())
				case *pushdv1.BroadcastTenantRequest:
					called, err = f.api.BroadcastTenant(ctx, r)
					check(streamed.GetBroadcastTenant())
				case *pushdv1.SendChannelRequest:
					called, err = f.api.SendChannel(ctx, r)
					check(streamed.GetSendChannel())
				case *pushdv1.BroadcastAllRequest:
					called, err = f.api.BroadcastAll(ctx, r)
					check(streamed.GetBroadcastAll())
				}
				if err != nil {
					t.Fatal(err)
				}
				check(called)
			}
		})
	}
}

// Every outcome has a count and a name of its own: a new one without them
// fails here.
func TestReceiptOutcomes(t *testing.T) {
	sent := &message.Receipt{Asked: 2, Answered: 2}
	for o := range message.Outcomes {
		sent.Counts[o] = uint64(100 + o)
		sent.Rows = append(sent.Rows, message.ReceiptRow{Node: fmt.Sprint("n", o), Connection: message.NewID(), Outcome: message.Outcome(o)})
	}
	f := start(t, control.Options{}, &router{answer: &message.Accepted{ID: message.NewID(), Receipt: sent}})
	answer, err := f.api.NotifyUser(within(t), notify("acme", "ann", "", "1"))
	if err != nil {
		t.Fatal(err)
	}
	got := answer.GetReceipt()
	c := got.GetCounts()
	want := map[message.Outcome]struct {
		count uint64
		name  string
	}{
		message.OutcomeUnknown:    {c.GetUnknown(), "UNSPECIFIED"},
		message.OutcomeQueued:     {c.GetQueued(), "QUEUED"},
		message.OutcomeWritten:    {c.GetWritten(), "WRITTEN"},
		message.OutcomeAcked:      {c.GetAcked(), "ACKED"},
		message.OutcomeExcluded:   {c.GetExcluded(), "EXCLUDED"},
		message.OutcomeExpired:    {c.GetExpired(), "EXPIRED"},
		message.OutcomeSlow:       {c.GetDropped().GetSlowConsumer(), "SLOW_CONSUMER"},
		message.OutcomeGone:       {c.GetDropped().GetGone(), "GONE"},
		message.OutcomeOverloaded: {c.GetDropped().GetOverloaded(), "OVERLOADED"},
	}
	if len(want) != message.Outcomes || len(got.GetConnections()) != message.Outcomes {
		t.Fatalf("%d outcomes, %d in this test, %d rows", message.Outcomes, len(want), len(got.GetConnections()))
	}
	for o, row := range got.GetConnections() {
		w := want[message.Outcome(o)]
		if w.count != uint64(100+o) {
			t.Errorf("outcome %d is counted %d times", o, w.count)
		}
		if row.GetOutcome().String() != "RECEIPT_OUTCOME_"+w.name || row.GetNode() != sent.Rows[o].Node || row.GetConnectionId() != sent.Rows[o].Connection.String() {
			t.Errorf("outcome %d has the row %v", o, row)
		}
	}
	if got.GetComplete() {
		t.Error("complete, with unknown outcomes")
	}
	sent.Counts[message.OutcomeUnknown] = 0
	if answer, err = f.api.NotifyUser(within(t), notify("acme", "ann", "", "1")); err != nil || !answer.GetReceipt().GetComplete() {
		t.Errorf("not complete: %v, %v", answer.GetReceipt(), err)
	}
}
