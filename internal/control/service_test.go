package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/message"
)

// payloadLimit of the servers of these tests.
const payloadLimit = 2000

// invoke calls the method that takes r, and returns the message id.
func invoke(ctx context.Context, api pushdv1.ControlServiceClient, r proto.Message) (string, error) {
	switch r := r.(type) {
	case *pushdv1.NotifyUserRequest:
		a, err := api.NotifyUser(ctx, r)
		return a.GetMessageId(), err
	case *pushdv1.BroadcastTenantRequest:
		a, err := api.BroadcastTenant(ctx, r)
		return a.GetMessageId(), err
	case *pushdv1.SendChannelRequest:
		a, err := api.SendChannel(ctx, r)
		return a.GetMessageId(), err
	case *pushdv1.BroadcastAllRequest:
		a, err := api.BroadcastAll(ctx, r)
		return a.GetMessageId(), err
	case *pushdv1.StatsRequest:
		_, err := api.Stats(ctx, r)
		return "", err
	default:
		return "", fmt.Errorf("no method takes %T", r)
	}
}

func notify(tenant, user, kind, json string) *pushdv1.NotifyUserRequest {
	return &pushdv1.NotifyUserRequest{
		TenantId: tenant, UserId: user, NotificationType: kind,
		Payload: &pushdv1.NotifyUserRequest_Json{Json: json},
	}
}

func broadcast(tenant, eventType, json string) *pushdv1.BroadcastTenantRequest {
	return &pushdv1.BroadcastTenantRequest{
		TenantId: tenant, EventType: eventType,
		Payload: &pushdv1.BroadcastTenantRequest_Json{Json: json},
	}
}

func send(tenant, channel string) *pushdv1.SendChannelRequest {
	return &pushdv1.SendChannelRequest{
		TenantId: tenant, Channel: channel, EventType: "news",
		Payload: &pushdv1.SendChannelRequest_Json{Json: "1"},
	}
}

func all(eventType, json string) *pushdv1.BroadcastAllRequest {
	return &pushdv1.BroadcastAllRequest{EventType: eventType, Payload: &pushdv1.BroadcastAllRequest_Json{Json: json}}
}

func allRaw(raw string) *pushdv1.BroadcastAllRequest {
	return &pushdv1.BroadcastAllRequest{Payload: &pushdv1.BroadcastAllRequest_Raw{Raw: raw}}
}

func allData(t *testing.T, data map[string]any) *pushdv1.BroadcastAllRequest {
	t.Helper()
	s, err := structpb.NewStruct(data)
	if err != nil {
		t.Fatal(err)
	}
	return &pushdv1.BroadcastAllRequest{EventType: "news", Payload: &pushdv1.BroadcastAllRequest_Data{Data: s}}
}

func TestTargets(t *testing.T) {
	tenant := func(id string) address.TenantID {
		v, err := address.ParseTenantID(id)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	user := func(id string) address.UserID {
		v, err := address.ParseUserID(id)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	channel := func(name string) address.Channel {
		v, err := address.ParseChannel(name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	must := func(x address.Target, err error) address.Target {
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	r := &router{}
	f := start(t, control.Options{}, r)
	for name, c := range map[string]struct {
		request proto.Message
		want    address.Target
	}{
		"user":             {notify("acme", "ann", "", "1"), must(address.UserTarget(tenant("acme"), user("ann")))},
		"user with colon":  {notify("acme", "x:ann", "", "1"), must(address.UserTarget(tenant("acme"), user("x:ann")))},
		"tenant":           {broadcast("acme", "news", "1"), must(address.TenantTarget(tenant("acme")))},
		"all":              {all("news", "1"), address.AllTarget()},
		"channel":          {send("acme", "room:1"), must(address.ChannelTarget(tenant("acme"), channel("room:1")))},
		"names its tenant": {send("", "tenant:acme:x"), must(address.ChannelTarget(tenant("acme"), channel("tenant:acme:x")))},
		"tenant agrees":    {send("acme", "tenant:acme"), must(address.ChannelTarget(tenant("acme"), channel("tenant:acme")))},
		"notifications":    {send("", "notifications:acme:ann:orders"), must(address.ChannelTarget(tenant("acme"), channel("notifications:acme:ann:orders")))},
		"public":           {send("", "public:news"), must(address.ChannelTarget(address.TenantID{}, channel("public:news")))},
		"bare tenant":      {send("acme", "tenant"), must(address.ChannelTarget(tenant("acme"), channel("tenant")))},
		"bare public":      {send("acme", "public"), must(address.ChannelTarget(tenant("acme"), channel("public")))},
	} {
		t.Run(name, func(t *testing.T) {
			before := time.Now()
			id, err := invoke(within(t), f.api, c.request)
			if err != nil {
				t.Fatal(err)
			}
			m := r.last(t)
			if m.Target != c.want {
				t.Errorf("got target %+v, want %+v", m.Target, c.want)
			}
			if m.ID.IsZero() || m.ID.String() != id {
				t.Errorf("answered %q, published %s", id, m.ID)
			}
			if m.AcceptedAt.Before(before) || !m.Deadline.IsZero() || m.ReportTo != "" || !m.Exclude.IsZero() {
				t.Errorf("published %+v", m)
			}
		})
	}
}

func TestPayloads(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{MaxPayload: payloadLimit}, r)
	longest := `"` + strings.Repeat("x", payloadLimit-2) + `"`
	for name, c := range map[string]struct {
		request proto.Message
		want    string
	}{
		"notification":       {notify("acme", "ann", "", `{"b":1,"a":2}`), `{"type":"notification","data":{"b":1,"a":2}}`},
		"event":              {broadcast("acme", "news", `{"b":1,"a":2}`), `{"type":"news","data":{"b":1,"a":2}}`},
		"channel event":      {send("", "public:x"), `{"type":"news","data":1}`},
		"null":               {all("news", "null"), `{"type":"news","data":null}`},
		"byte for byte":      {all("news", ` [1.0, 1e2 ,"\u00e9é\/"]	`), `{"type":"news","data": [1.0, 1e2 ,"\u00e9é\/"]	}`},
		"lines":              {all("news", "\r\n{\"a\":\n1,\r\"b\\n\":2}\n"), `{"type":"news","data":  {"a": 1, "b\n":2} }`},
		"big number":         {all("news", `123456789012345678901234567890`), `{"type":"news","data":123456789012345678901234567890}`},
		"strange type":       {all(`a"b\c d<é`, "1"), `{"type":"a\"b\\c d<é","data":1}`},
		"long type":          {all(strings.Repeat(`"`, 64), "1"), `{"type":"` + strings.Repeat(`\"`, 64) + `","data":1}`},
		"notification too":   {all("notification", "1"), `{"type":"notification","data":1}`},
		"channel_message":    {all("channel_message", "1"), `{"type":"channel_message","data":1}`},
		"longest":            {all("x", longest), `{"type":"x","data":` + longest + `}`},
		"raw":                {allRaw(`{ "x":[{"type":1}], "type" : "news"}`), `{ "x":[{"type":1}], "type" : "news"}`},
		"raw lines":          {allRaw("\n{\"type\":\"news\",\r\n\"n\":1}\n"), ` {"type":"news",  "n":1} `},
		"raw members within": {allRaw(`{"type":"x","data":{"messageId":1,"offset":2},"Channel":1}`), `{"type":"x","data":{"messageId":1,"offset":2},"Channel":1}`},
		"raw escaped type":   {allRaw(`{"\u0074ype":"\u006eews"}`), `{"\u0074ype":"\u006eews"}`},
		"data": {
			allData(t, map[string]any{"b": 1, "a": []any{true, nil, 1.5, "x\ny"}}),
			`{"type":"news","data":{"a":[true,null,1.5,"x\ny"],"b":1}}`,
		},
		"empty data": {allData(t, nil), `{"type":"news","data":{}}`},
		"user data": {
			&pushdv1.NotifyUserRequest{TenantId: "a", UserId: "b", Payload: &pushdv1.NotifyUserRequest_Data{Data: &structpb.Struct{}}},
			`{"type":"notification","data":{}}`,
		},
		"tenant data": {
			&pushdv1.BroadcastTenantRequest{TenantId: "a", EventType: "x", Payload: &pushdv1.BroadcastTenantRequest_Data{Data: &structpb.Struct{}}},
			`{"type":"x","data":{}}`,
		},
		"tenant raw": {
			&pushdv1.BroadcastTenantRequest{TenantId: "a", Payload: &pushdv1.BroadcastTenantRequest_Raw{Raw: `{"type":"x"}`}},
			`{"type":"x"}`,
		},
		"channel data": {
			&pushdv1.SendChannelRequest{Channel: "public:x", EventType: "x", Payload: &pushdv1.SendChannelRequest_Data{Data: &structpb.Struct{}}},
			`{"type":"x","data":{}}`,
		},
		"channel raw": {
			&pushdv1.SendChannelRequest{Channel: "public:x", Payload: &pushdv1.SendChannelRequest_Raw{Raw: `{"type":"x"}`}},
			`{"type":"x"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := invoke(within(t), f.api, c.request); err != nil {
				t.Fatal(err)
			}
			if got := string(r.last(t).Payload); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestNotificationType(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{}, r)
	for _, kind := range []string{"", "orders", "all"} {
		if _, err := f.api.NotifyUser(within(t), notify("acme", "ann", kind, "1")); err != nil {
			t.Fatal(err)
		}
		if got := r.last(t).NotificationType; got != kind {
			t.Errorf("got %q, want %q", got, kind)
		}
	}
}

func TestRefusedRequests(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{MaxPayload: payloadLimit}, r)
	const (
		bad     = "BAD_REQUEST"
		channel = "INVALID_CHANNEL"
		large   = "MESSAGE_TOO_LARGE"
	)
	tooLong := `"` + strings.Repeat("x", payloadLimit-1) + `"`
	nan := &structpb.Struct{Fields: map[string]*structpb.Value{"x": structpb.NewNumberValue(0)}}
	nan.Fields["x"].Kind = &structpb.Value_NumberValue{NumberValue: nanValue()}
	unset := &structpb.Struct{Fields: map[string]*structpb.Value{"x": {}}}
	dataEvent := func(s *structpb.Struct) *pushdv1.BroadcastAllRequest {
		return &pushdv1.BroadcastAllRequest{EventType: "x", Payload: &pushdv1.BroadcastAllRequest_Data{Data: s}}
	}
	type row struct {
		request proto.Message
		reason  string
		fields  []string
	}
	table := map[string]row{
		"no tenant":                 {notify("", "ann", "", "1"), bad, []string{"tenant_id"}},
		"tenant with colon":         {notify("a:b", "ann", "", "1"), bad, []string{"tenant_id"}},
		"tenant with space":         {notify("a b", "ann", "", "1"), bad, []string{"tenant_id"}},
		"tenant wildcard":           {notify("*", "ann", "", "1"), bad, []string{"tenant_id"}},
		"tenant with control":       {notify("a\x00", "ann", "", "1"), bad, []string{"tenant_id"}},
		"long tenant":               {notify(strings.Repeat("t", 129), "ann", "", "1"), bad, []string{"tenant_id"}},
		"no user":                   {notify("acme", "", "", "1"), bad, []string{"user_id"}},
		"user with space":           {notify("acme", "a\u00a0b", "", "1"), bad, []string{"user_id"}},
		"user wildcard":             {notify("acme", "**", "", "1"), bad, []string{"user_id"}},
		"long user":                 {notify("acme", strings.Repeat("u", 129), "", "1"), bad, []string{"user_id"}},
		"notification type colon":   {notify("acme", "ann", "a:b", "1"), bad, []string{"notification_type"}},
		"long notification type":    {notify("acme", "ann", strings.Repeat("n", 65), "1"), bad, []string{"notification_type"}},
		"no notification":           {&pushdv1.NotifyUserRequest{TenantId: "acme", UserId: "ann"}, bad, []string{"payload"}},
		"all fields of notify":      {notify("", "", "*", "{"), bad, []string{"json", "notification_type", "tenant_id", "user_id"}},
		"broadcast without tenant":  {broadcast("", "x", "1"), bad, []string{"tenant_id"}},
		"broadcast to wildcard":     {broadcast("*", "x", "1"), bad, []string{"tenant_id"}},
		"no event type":             {all("", "1"), bad, []string{"event_type"}},
		"long event type":           {all(strings.Repeat("e", 65), "1"), bad, []string{"event_type"}},
		"event type with control":   {all("a\nb", "1"), bad, []string{"event_type"}},
		"event type with C1":        {all("a\u0085b", "1"), bad, []string{"event_type"}},
		"no payload":                {&pushdv1.BroadcastAllRequest{}, bad, []string{"payload"}},
		"no payload, type":          {&pushdv1.BroadcastAllRequest{EventType: "x"}, bad, []string{"payload"}},
		"no payload, bad type":      {&pushdv1.BroadcastAllRequest{EventType: "error"}, bad, []string{"event_type", "payload"}},
		"no tenant payload":         {&pushdv1.BroadcastTenantRequest{TenantId: "a"}, bad, []string{"payload"}},
		"no channel payload":        {&pushdv1.SendChannelRequest{Channel: "public:x"}, bad, []string{"payload"}},
		"empty json":                {all("x", ""), bad, []string{"json"}},
		"space":                     {all("x", " \n"), bad, []string{"json"}},
		"half a value":              {all("x", `{"a":`), bad, []string{"json"}},
		"two values":                {all("x", `1 2`), bad, []string{"json"}},
		"escape from the wrapping":  {all("x", `1},{"x":1`), bad, []string{"json"}},
		"newline in string":         {all("x", "\"a\nb\""), bad, []string{"json"}},
		"duplicate name":            {all("x", `{"a":1,"a":2}`), bad, []string{"json"}},
		"half a surrogate":          {all("x", `"\ud800"`), bad, []string{"json"}},
		"NaN":                       {all("x", `NaN`), bad, []string{"json"}},
		"comment":                   {all("x", `1//`), bad, []string{"json"}},
		"byte order mark":           {all("x", "\ufeff1"), bad, []string{"json"}},
		"too deep":                  {all("x", strings.Repeat("[", 900)+strings.Repeat("]", 899)), bad, []string{"json"}},
		"long json":                 {all("x", tooLong), large, []string{"json"}},
		"long json for a user":      {notify("acme", "ann", "", tooLong), large, []string{"json"}},
		"long json and bad user":    {notify("acme", "", "", tooLong), bad, []string{"json", "user_id"}},
		"nearly twice the limit":    {all("x", strings.Repeat(" ", 2*payloadLimit)), large, []string{"json"}},
		"long raw":                  {allRaw(`{"type":"x","y":` + tooLong + `}`), large, []string{"raw"}},
		"long data":                 {allData(t, map[string]any{"x": strings.Repeat("y", payloadLimit)}), large, []string{"data"}},
		"data not a number":         {dataEvent(nan), bad, []string{"data"}},
		"data without kind":         {dataEvent(unset), bad, []string{"data"}},
		"raw with event type":       {&pushdv1.BroadcastAllRequest{EventType: "x", Payload: &pushdv1.BroadcastAllRequest_Raw{Raw: `{"type":"x"}`}}, bad, []string{"event_type"}},
		"bad raw with event type":   {&pushdv1.BroadcastAllRequest{EventType: "x", Payload: &pushdv1.BroadcastAllRequest_Raw{Raw: `{}`}}, bad, []string{"event_type", "raw"}},
		"empty raw":                 {allRaw(""), bad, []string{"raw"}},
		"raw is no object":          {allRaw(`[{"type":"x"}]`), bad, []string{"raw"}},
		"raw without type":          {allRaw(`{"a":{"type":"x"}}`), bad, []string{"raw"}},
		"raw with number type":      {allRaw(`{"type":1}`), bad, []string{"raw"}},
		"raw with object type":      {allRaw(`{"type":{"type":"x"}}`), bad, []string{"raw"}},
		"raw with two types":        {allRaw(`{"type":"x","type":"y"}`), bad, []string{"raw"}},
		"raw with hidden type":      {allRaw(`{"type":"x","\u0074ype":"error"}`), bad, []string{"raw"}},
		"raw with empty type":       {allRaw(`{"type":""}`), bad, []string{"raw"}},
		"raw with long type":        {allRaw(`{"type":"` + strings.Repeat("x", 65) + `"}`), bad, []string{"raw"}},
		"raw with control":          {allRaw(`{"type":"a\nb"}`), bad, []string{"raw"}},
		"raw with escaped reserved": {allRaw(`{"type":"\u0065rror"}`), bad, []string{"raw"}},
		"raw with messageId":        {allRaw(`{"type":"x","messageId":"1"}`), bad, []string{"raw"}},
		"raw with offset":           {allRaw(`{"offset":1,"type":"x"}`), bad, []string{"raw"}},
		"raw with epoch":            {allRaw(`{"type":"x","epoch":null}`), bad, []string{"raw"}},
		"raw with channel":          {allRaw(`{"channel":{},"type":"x"}`), bad, []string{"raw"}},
		"raw with deliveryId":       {allRaw(`{"type":"x","deliveryId":[]}`), bad, []string{"raw"}},
		"raw with hidden offset":    {allRaw(`{"type":"x","\u006fffset":1}`), bad, []string{"raw"}},
		"raw and more":              {allRaw(`{"type":"x"}{}`), bad, []string{"raw"}},
		"half a raw":                {allRaw(`{"type":"x"`), bad, []string{"raw"}},
		"no channel":                {send("acme", ""), channel, []string{"channel"}},
		"empty segment":             {send("acme", "a::b"), channel, []string{"channel"}},
		"wildcard segment":          {send("acme", "a:*"), channel, []string{"channel"}},
		"channel with space":        {send("acme", "a b"), channel, []string{"channel"}},
		"long channel":              {send("acme", strings.Repeat("c", 201)), channel, []string{"channel"}},
		"owner is no tenant":        {send("", "tenant:"+strings.Repeat("t", 129)), channel, []string{"channel"}},
		"owner is no tenant, given": {send("acme", "notifications:"+strings.Repeat("t", 129)+":x"), channel, []string{"channel"}},
		"channel and tenant bad":    {send("a:b", "a::b"), bad, []string{"channel", "tenant_id"}},
		"other tenant":              {send("acme", "tenant:other:x"), bad, []string{"tenant_id"}},
		"other tenant's user":       {send("acme", "notifications:other:ann:x"), bad, []string{"tenant_id"}},
		"prefix of the tenant":      {send("1", "tenant:10"), bad, []string{"tenant_id"}},
		"bad tenant, named":         {send("a:b", "tenant:acme:x"), bad, []string{"tenant_id"}},
		"channel without tenant":    {send("", "room:1"), bad, []string{"tenant_id"}},
		"bare tenant":               {send("", "tenant"), bad, []string{"tenant_id"}},
		"bare public":               {send("", "public"), bad, []string{"tenant_id"}},
		"publicity":                 {send("", "publicity:x"), bad, []string{"tenant_id"}},
		"public with tenant":        {send("acme", "public:news"), bad, []string{"tenant_id"}},
		"everything of a channel": {
			&pushdv1.SendChannelRequest{TenantId: " ", Channel: "a b", EventType: "pong", Payload: &pushdv1.SendChannelRequest_Json{Json: "{"}},
			bad, []string{"channel", "event_type", "json", "tenant_id"},
		},
		"stats top":             {&pushdv1.StatsRequest{Top: 1001}, bad, []string{"top"}},
		"stats tenant":          {&pushdv1.StatsRequest{TenantId: "a:b"}, bad, []string{"tenant_id"}},
		"stats channel":         {&pushdv1.StatsRequest{TenantId: "acme", Channel: "a::b"}, channel, []string{"channel"}},
		"stats channel tenant":  {&pushdv1.StatsRequest{Channel: "room"}, bad, []string{"tenant_id"}},
		"stats other tenant":    {&pushdv1.StatsRequest{TenantId: "acme", Channel: "tenant:other"}, bad, []string{"tenant_id"}},
		"everything about them": {&pushdv1.StatsRequest{TenantId: "*", Channel: "*", Top: 5000}, bad, []string{"channel", "tenant_id", "top"}},
	}
	for _, name := range []string{
		"connection", "pong", "channel_joined", "channel_left", "notifications_subscribed", "notifications_unsubscribed",
		"message_sent", "gap", "presence", "presence_changed", "history", "token_expiring", "token_refreshed", "going_away", "error",
	} {
		table["reserved "+name] = row{all(name, "1"), bad, []string{"event_type"}}
		table["reserved raw "+name] = row{allRaw(`{"type":"` + name + `"}`), bad, []string{"raw"}}
	}
	for name, c := range table {
		t.Run(name, func(t *testing.T) {
			want := told{code: codes.InvalidArgument, reason: c.reason, fields: c.fields}
			_, err := invoke(within(t), f.api, c.request)
			checkRefusal(t, err, want)
			if asCommand(c.request) != nil {
				checkRefusal(t, oneByStream(t, f, c.request), want)
			}
		})
	}
	if n := r.calls(); n != 0 {
		t.Errorf("%d refused requests reached the router", n)
	}
}

// nanValue is not a number.
func nanValue() float64 {
	zero := 0.0
	return zero / zero
}

// rawCodec sends bytes as they are and does not read the answer.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (rawCodec) Unmarshal([]byte, any) error   { return nil }
func (rawCodec) Name() string                  { return "proto" }
func sendRaw(ctx context.Context, f *fixture, body []byte) error {
	return f.conn.Invoke(ctx, pushdv1.ControlService_NotifyUser_FullMethodName, body, new([]byte), grpc.ForceCodec(rawCodec{}))
}

func TestUnreadableRequests(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{MaxPayload: payloadLimit}, r)
	for name, c := range map[string]struct {
		body []byte
		want told
	}{
		"not protobuf":  {[]byte{0xff, 0xff}, told{code: codes.InvalidArgument, reason: "BAD_REQUEST"}},
		"invalid UTF-8": {[]byte{0x0a, 0x01, 0xff}, told{code: codes.InvalidArgument, reason: "BAD_REQUEST"}},
		// Not read at all: gRPC itself says no.
		"huge": {make([]byte, 2*payloadLimit+64<<10+1), told{code: codes.ResourceExhausted}},
	} {
		t.Run(name, func(t *testing.T) { checkRefusal(t, sendRaw(within(t), f, c.body), c.want) })
	}
	if r.calls() != 0 {
		t.Error("an unreadable request reached the router")
	}
}

func TestRouterErrors(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{}, r)
	for name, c := range map[string]struct {
		err  error
		want told
	}{
		"unavailable":  {fmt.Errorf("publish: %w", message.ErrUnavailable), told{code: codes.Unavailable, reason: "UNAVAILABLE", retry: true}},
		"overloaded":   {fmt.Errorf("publish: %w", message.ErrOverloaded), told{code: codes.ResourceExhausted, reason: "RATE_LIMITED", retry: true}},
		"too large":    {message.ErrTooLarge, told{code: codes.InvalidArgument, reason: "MESSAGE_TOO_LARGE"}},
		"key conflict": {fmt.Errorf("publish: %w", message.ErrKeyConflict), told{code: codes.AlreadyExists, reason: "KEY_CONFLICT"}},
		"not stored":   {fmt.Errorf("publish: %w", message.ErrNotStored), told{code: codes.FailedPrecondition, reason: "NOT_AVAILABLE"}},
		"history full": {fmt.Errorf("publish: %w", message.ErrHistoryFull), told{code: codes.ResourceExhausted, reason: "UNAVAILABLE", retry: true}},
		"deadline":     {context.DeadlineExceeded, told{code: codes.DeadlineExceeded, reason: "UNAVAILABLE"}},
		"canceled":     {context.Canceled, told{code: codes.Canceled, reason: "UNAVAILABLE"}},
		"unknown":      {errors.New("secret detail"), told{code: codes.Internal, reason: "INTERNAL"}},
	} {
		t.Run(name, func(t *testing.T) {
			r.onPublish = func(context.Context, *message.Message) error { return c.err }
			_, err := f.api.NotifyUser(within(t), notify("acme", "ann", "", "1"))
			checkRefusal(t, err, c.want)
			streamed := oneByStream(t, f, notify("acme", "ann", "", "1"))
			checkRefusal(t, streamed, c.want)
			if strings.Contains(streamed.Error(), "secret detail") {
				t.Errorf("the caller of the stream is told %v", streamed)
			}
			if strings.Contains(err.Error(), "secret detail") {
				t.Errorf("the caller is told %v", err)
			}
		})
	}
}

// The caller's deadline reaches the router.
func TestDeadline(t *testing.T) {
	r := &router{onPublish: func(ctx context.Context, _ *message.Message) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	f := start(t, control.Options{}, r)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.api.NotifyUser(ctx, notify("acme", "ann", "", "1")); refusal(t, err).code != codes.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
}

func TestTraceParent(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	r := &router{}
	f := start(t, control.Options{}, r)
	for name, c := range map[string]struct {
		sent []string
		want string
	}{
		"none":         {nil, ""},
		"good":         {[]string{good}, good},
		"two":          {[]string{good, good}, ""},
		"upper case":   {[]string{strings.ToUpper(good)}, ""},
		"short":        {[]string{good[1:]}, ""},
		"long":         {[]string{good + "0"}, ""},
		"no trace":     {[]string{"00-" + strings.Repeat("0", 32) + good[35:]}, ""},
		"no parent":    {[]string{good[:36] + strings.Repeat("0", 16) + "-01"}, ""},
		"bad version":  {[]string{"ff" + good[2:]}, ""},
		"bad dash":     {[]string{good[:35] + "_" + good[36:]}, ""},
		"bad flags":    {[]string{good[:53] + "0x"}, ""},
		"bad trace id": {[]string{good[:3] + "z" + good[4:]}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := withHeaders(within(t), "traceparent", c.sent...)
			if _, err := f.api.BroadcastAll(ctx, all("x", "1")); err != nil {
				t.Fatal(err)
			}
			if got := r.last(t).TraceParent; got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
