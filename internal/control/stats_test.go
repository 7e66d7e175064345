package control_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/stats"
)

func TestStatsQuery(t *testing.T) {
	acme, err := address.ParseTenantID("acme")
	if err != nil {
		t.Fatal(err)
	}
	channel := func(name string) address.Channel {
		c, err := address.ParseChannel(name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var got stats.Query
	var gotFresh bool
	r := &router{onStats: func(q stats.Query, fresh bool) (*stats.Cluster, error) {
		got, gotFresh = q, fresh
		return &stats.Cluster{}, nil
	}}
	f := start(t, control.Options{}, r)
	for name, c := range map[string]struct {
		request *pushdv1.StatsRequest
		want    stats.Query
	}{
		"all":             {&pushdv1.StatsRequest{}, stats.Query{Limit: 20}},
		"top":             {&pushdv1.StatsRequest{Top: 1000}, stats.Query{Limit: 1000}},
		"one":             {&pushdv1.StatsRequest{Top: 1, Fresh: true}, stats.Query{Limit: 1}},
		"tenant":          {&pushdv1.StatsRequest{TenantId: "acme"}, stats.Query{Tenant: acme, Limit: 20}},
		"channel":         {&pushdv1.StatsRequest{TenantId: "acme", Channel: "room"}, stats.Query{Tenant: acme, Channel: channel("room"), Limit: 20}},
		"channel's owner": {&pushdv1.StatsRequest{Channel: "tenant:acme:x"}, stats.Query{Tenant: acme, Channel: channel("tenant:acme:x"), Limit: 20}},
		"public":          {&pushdv1.StatsRequest{Channel: "public:x"}, stats.Query{Channel: channel("public:x"), Limit: 20}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := f.api.Stats(within(t), c.request); err != nil {
				t.Fatal(err)
			}
			if got != c.want || gotFresh != c.request.GetFresh() {
				t.Errorf("asked %+v fresh %t, want %+v", got, gotFresh, c.want)
			}
		})
	}
}

func TestStatsAnswer(t *testing.T) {
	acme, err := address.ParseTenantID("acme")
	if err != nil {
		t.Fatal(err)
	}
	room, err := address.ParseChannel("room")
	if err != nil {
		t.Fatal(err)
	}
	news, err := address.ParseChannel("public:news")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	totals := stats.Totals{
		Connections: 1, Users: 2, Tenants: 3, Channels: 4, MessagesIn: 5, MessagesOut: 6, BytesIn: 7, BytesOut: 8, Dropped: 9,
	}
	wantTotals := func(started time.Time) *pushdv1.StatsTotals {
		return &pushdv1.StatsTotals{
			Connections: 1, Users: 2, Tenants: 3, Channels: 4, MessagesIn: 5, MessagesOut: 6, BytesIn: 7, BytesOut: 8, Dropped: 9,
			StartedAt: timestamppb.New(started),
		}
	}
	r := &router{onStats: func(stats.Query, bool) (*stats.Cluster, error) {
		return &stats.Cluster{
			AsOf: at, Complete: true, Missing: []string{"d"}, Totals: totals, StartedAt: at.Add(-time.Hour),
			Nodes: []stats.Node{
				{Name: "a", Version: "v1", StartedAt: at.Add(-time.Minute), State: stats.StateReady, Totals: totals, HistoryRules: 0xab},
				{Name: "b", State: stats.StateDraining}, {Name: "c", State: stats.StateSuspect}, {Name: "d", State: stats.StateDead}, {Name: "e"},
			},
			Tenants:          []stats.Tenant{{ID: acme, Connections: 10, Users: 11, Channels: 12}},
			Channels:         []stats.Channel{{Tenant: acme, Name: room, Connections: 13}, {Name: news, Connections: 14}},
			TruncatedTenants: 15, TruncatedChannels: 16,
		}, nil
	}}
	f := start(t, control.Options{}, r)
	got, err := f.api.Stats(within(t), &pushdv1.StatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := &pushdv1.StatsResponse{
		AsOf: timestamppb.New(at), Complete: true, MissingNodes: []string{"d"}, Totals: wantTotals(at.Add(-time.Hour)),
		Nodes: []*pushdv1.StatsNode{
			{
				Name: "a", Version: "v1", StartedAt: timestamppb.New(at.Add(-time.Minute)),
				State: pushdv1.NodeState_NODE_STATE_READY, Totals: wantTotals(at.Add(-time.Minute)),
				HistoryRules: "00000000000000ab",
			},
			{Name: "b", State: pushdv1.NodeState_NODE_STATE_DRAINING, Totals: &pushdv1.StatsTotals{}},
			{Name: "c", State: pushdv1.NodeState_NODE_STATE_SUSPECT, Totals: &pushdv1.StatsTotals{}},
			{Name: "d", State: pushdv1.NodeState_NODE_STATE_DEAD, Totals: &pushdv1.StatsTotals{}},
			{Name: "e", Totals: &pushdv1.StatsTotals{}},
		},
		Tenants:          []*pushdv1.StatsTenant{{TenantId: "acme", Connections: 10, Users: 11, Channels: 12}},
		Channels:         []*pushdv1.StatsChannel{{TenantId: "acme", Channel: "room", Connections: 13}, {Channel: "public:news", Connections: 14}},
		TruncatedTenants: 15, TruncatedChannels: 16,
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestStatsError(t *testing.T) {
	r := &router{onStats: func(stats.Query, bool) (*stats.Cluster, error) { return nil, errors.New("broken") }}
	f := start(t, control.Options{}, r)
	_, err := f.api.Stats(within(t), &pushdv1.StatsRequest{})
	checkRefusal(t, err, told{code: codes.Internal, reason: "INTERNAL"})
}
