package edge

import (
	"encoding/json"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// TestEventFramesAreShared: whoever asks first, all get the same frame, and the
// plain one has the payload as it is.
func TestEventFramesAreShared(t *testing.T) {
	m := &message.Message{
		ID: message.NewID(), Target: address.AllTarget(), Position: message.Position{Epoch: "e", Offset: 7},
		Payload: []byte(`{"type":"x","data":1}`),
	}
	e := newEvent(m)
	type form struct {
		d          handshake.Dialect
		withOffset bool
	}
	var forms []form
	for d := handshake.Plain; d < handshake.Dialects; d++ {
		forms = append(forms, form{d, false}, form{d, true})
	}
	const askers = 8
	got := make([][askers]*frame.Frame, len(forms))
	var asking sync.WaitGroup
	for i, f := range forms {
		for j := range askers {
			asking.Go(func() { got[i][j] = e.frame(f.d, f.withOffset) })
		}
	}
	asking.Wait()
	different := make(map[*frame.Frame]bool)
	for i, f := range forms {
		for _, other := range got[i] {
			if other != got[i][0] {
				t.Errorf("%+v: two frames", f)
			}
		}
		different[got[i][0]] = true
	}
	if len(different) != 5 { // plain has no offset
		t.Errorf("%d frames", len(different))
	}
	plain := got[0][0].Bytes()
	if text := string(plain[headerLen(len(plain)):]); text != string(m.Payload) {
		t.Errorf("plain is %q", text)
	}
	// What is not stored has no second form.
	e = newEvent(&message.Message{ID: message.NewID(), Target: address.AllTarget(), Payload: m.Payload})
	if e.frame(handshake.JSON, true) != e.frame(handshake.JSON, false) {
		t.Error("two frames without an offset")
	}
}

// TestOddPayloads: what no node of pushd makes is passed on, in every dialect,
// and stops nobody.
func TestOddPayloads(t *testing.T) {
	for _, payload := range []string{
		"", "x", "}", "{}", "{ } ", `{"type":7,"data":1}`, `{"type":"x","data":1,"type":"y"}`, "\xff", `{"type":"` + "\xff" + `"}`, "null", `[]`, `"}}"`,
		`{"type":"channel_message","data":{}}`, `{"type":"channel_message","data":{"message":1,"timestamp":"soon"}}`,
		`{"type":"notification"}`, `{"data":{"type":"x"}}`,
	} {
		for _, fromClient := range []bool{false, true} {
			m := &message.Message{ID: message.NewID(), Target: address.AllTarget(), FromClient: fromClient, Payload: []byte(payload)}
			text := appendMessage(nil, m, true)
			if json.Valid([]byte(payload)) && !json.Valid(text) {
				t.Errorf("%s became %s", payload, text)
			}
			if _, err := proto.Marshal(protoMessage(m, true)); err != nil {
				t.Errorf("%q: %v", payload, err)
			}
		}
	}
}

// TestPositions has what no request brings about yet: what an answer or a gap
// says where there is a history.
func TestPositions(t *testing.T) {
	channel, err := address.ParseChannel("tenant:acme")
	if err != nil {
		t.Fatal(err)
	}
	ofJSON, ofProto := &conn{dialect: handshake.JSON}, &conn{dialect: handshake.Proto}
	lost := gap{from: 3, to: 9, reason: history.ReasonTrimmed}
	missed := &joined{epoch: "e", offset: 9, asked: true, gap: &lost}
	for _, c := range []struct {
		name string
		make func(*conn) *frame.Frame
		want string
		same func(*pushdv1.ServerMessage) bool
	}{
		{
			"joined", func(c *conn) *frame.Frame {
				return channelJoinedFrame(c, []byte(`"1"`), channel, &joined{epoch: "e", offset: 9})
			},
			`{"type":"channel_joined","id":"1","data":{"channel":"tenant:acme","epoch":"e","offset":"9"}}`,
			func(m *pushdv1.ServerMessage) bool {
				j := m.GetChannelJoined()
				return m.GetId() == "1" && j.GetEpoch() == "e" && j.GetOffset() == "9" && j.Recovered == nil && j.GetGap() == nil
			},
		},
		{
			"recovered", func(c *conn) *frame.Frame {
				return channelJoinedFrame(c, nil, channel, &joined{epoch: "e", asked: true, recovered: true})
			},
			`{"type":"channel_joined","data":{"channel":"tenant:acme","epoch":"e","offset":"0","recovered":true}}`,
			func(m *pushdv1.ServerMessage) bool {
				return m.GetChannelJoined().GetOffset() == "0" && m.GetChannelJoined().GetRecovered()
			},
		},
		{
			"not recovered", func(c *conn) *frame.Frame { return channelJoinedFrame(c, nil, channel, missed) },
			`{"type":"channel_joined","data":{"channel":"tenant:acme","epoch":"e","offset":"9","recovered":false,"gap":{"from":"3","to":"9","reason":"trimmed"}}}`,
			func(m *pushdv1.ServerMessage) bool {
				j := m.GetChannelJoined()
				return j.Recovered != nil && !j.GetRecovered() && j.GetGap().GetFrom() == "3" && j.GetGap().GetTo() == "9"
			},
		},
		{
			"subscribed", func(c *conn) *frame.Frame { return notificationsSubscribedFrame(c, nil, []string{"a"}, missed) },
			`{"type":"notifications_subscribed","data":{"types":["a"],"epoch":"e","offset":"9","recovered":false,"gap":{"from":"3","to":"9","reason":"trimmed"}}}`,
			func(m *pushdv1.ServerMessage) bool {
				s := m.GetNotificationsSubscribed()
				return s.GetEpoch() == "e" && s.GetOffset() == "9" && s.GetGap().GetReason() == "trimmed" && s.GetTypes()[0] == "a"
			},
		},
		{
			"gap", func(c *conn) *frame.Frame { return gapFrame(c, channel, lost) },
			`{"type":"gap","data":{"channel":"tenant:acme","from":"3","to":"9","reason":"trimmed"}}`,
			func(m *pushdv1.ServerMessage) bool {
				return m.GetGap().GetChannel() == "tenant:acme" && m.GetGap().GetFrom() == "3" && m.GetGap().GetTo() == "9"
			},
		},
		{
			"gap of an inbox", func(c *conn) *frame.Frame {
				return gapFrame(c, address.Channel{}, gap{reason: history.ReasonOverflow})
			},
			`{"type":"gap","data":{"reason":"overflow"}}`,
			func(m *pushdv1.ServerMessage) bool {
				return m.GetGap().GetChannel() == "" && m.GetGap().GetTo() == "" && m.GetGap().GetReason() == "overflow"
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := c.make(ofJSON).Bytes()
			if text := string(got[headerLen(len(got)):]); text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			got = c.make(ofProto).Bytes()
			var m pushdv1.ServerMessage
			for piece, err := range delimited(got[headerLen(len(got)):]) {
				if err != nil || proto.Unmarshal(piece, &m) != nil || !c.same(&m) {
					t.Errorf("%v, %v", &m, err)
				}
			}
		})
	}
	// The plain dialect says none of it.
	plain := channelJoinedFrame(&conn{dialect: handshake.Plain}, nil, channel, missed).Bytes()
	if text := string(plain[headerLen(len(plain)):]); text != `{"type":"channel_joined","data":{"channel":"tenant:acme"}}` {
		t.Errorf("plain got %s", text)
	}
}
