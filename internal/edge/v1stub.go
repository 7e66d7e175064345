package edge

import (
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/history"
	"github.com/aegisx/pushd/internal/message"
)

// stubV1 stands for the dialects that know of offsets.
const stubV1 = handshake.Plain + 1

// v1 reports whether c knows of offsets.
func (c *conn) v1() bool { return c.dialect != handshake.Plain }

// event is one message on its way to the connections of this node.
type event struct {
	message *message.Message
	plain   *frame.Frame
	once    sync.Once
	offset  *frame.Frame
}

func newEvent(m *message.Message) *event { return &event{message: m, plain: frame.Text(m.Payload)} }

func (e *event) frame(d handshake.Dialect, withOffset bool) *frame.Frame {
	if d == handshake.Plain || !withOffset || e.message.Position.IsZero() {
		return e.plain
	}
	e.once.Do(func() {
		b := append([]byte(nil), e.message.Payload[:len(e.message.Payload)-1]...)
		b = append(b, `,"offset":"`...)
		b = strconv.AppendUint(b, e.message.Position.Offset, 10)
		e.offset = frame.Text(append(b, `"}`...))
	})
	return e.offset
}

type resume struct {
	epoch  string
	offset uint64
}

func (cmd command) resume() (*resume, error) {
	var data struct {
		Recover *struct{ Epoch, Offset string } `json:"recover"`
	}
	if err := json.Unmarshal(cmd.data, &data, json.MatchCaseInsensitiveNames(true)); err != nil {
		return nil, errInvalidFormat
	}
	if data.Recover == nil {
		return nil, nil //nolint:nilnil // No position is no error.
	}
	offset, err := history.ParseOffset(data.Recover.Offset)
	if err != nil {
		return nil, errInvalidFormat
	}
	return &resume{data.Recover.Epoch, offset}, nil
}

type gap struct {
	from, to uint64
	reason   history.Reason
}

type joined struct {
	epoch            string
	offset           uint64
	asked, recovered bool
	gap              *gap
}

func notKept(from *resume) *joined {
	if from == nil {
		return nil
	}
	return &joined{asked: true, gap: &gap{reason: history.ReasonExpired}}
}

func (g gap) append(b []byte) []byte {
	b = append(b, `"from":"`...)
	b = strconv.AppendUint(b, g.from, 10)
	b = append(b, `","to":"`...)
	b = strconv.AppendUint(b, g.to, 10)
	return append(append(append(b, `","reason":"`...), g.reason...), '"')
}

func (j *joined) append(b []byte) []byte {
	if j == nil {
		return b
	}
	b = append(append(append(b, `,"epoch":"`...), j.epoch...), `","offset":"`...)
	b = append(strconv.AppendUint(b, j.offset, 10), '"')
	if j.asked {
		b = strconv.AppendBool(append(b, `,"recovered":`...), j.recovered)
	}
	if j.gap != nil {
		b = append(j.gap.append(append(b, `,"gap":{`...)), '}')
	}
	return b
}

func channelJoinedFrame(c *conn, id jsontext.Value, channel address.Channel, at *joined) *frame.Frame {
	if !c.v1() {
		return channelFrame("channel_joined", id, channel)
	}
	b := appendHead(nil, "channel_joined", id)
	b = appendQuoted(append(b, `"channel":`...), channel.String())
	return frame.Text(append(at.append(b), "}}"...))
}

func notificationsSubscribedFrame(c *conn, id jsontext.Value, types []string, at *joined) *frame.Frame {
	if !c.v1() {
		return typesFrame(id, types)
	}
	b := appendHead(nil, "notifications_subscribed", id)
	b = append(b, `"count":`...)
	b = strconv.AppendInt(b, int64(len(types)), 10)
	return frame.Text(append(at.append(b), "}}"...))
}

func gapFrame(_ *conn, channel address.Channel, g gap) *frame.Frame {
	b := appendHead(nil, "gap", nil)
	if !channel.IsZero() {
		b = append(appendQuoted(append(b, `"channel":`...), channel.String()), ',')
	}
	return frame.Text(append(g.append(b), "}}"...))
}
