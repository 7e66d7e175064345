package edge

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge/frame"
	"github.com/aegisx/pushd/internal/edge/handshake"
	"github.com/aegisx/pushd/internal/history"
)

// resume is the position up to which a client has seen what is stored.
type resume struct {
	epoch  string
	offset uint64
}

// gap says that something between two offsets is, or may be, missing. Both are 0
// where offsets are not known.
type gap struct {
	from, to uint64
	reason   history.Reason
	// epoch is where live messages go on, if that is another one; to is in it.
	epoch string
}

// joined is what an answer to a join says of the history.
type joined struct {
	// epoch and offset are where live messages go on; zero where nothing is kept.
	epoch  string
	offset uint64
	// asked says that recovery was asked for, and recovered that nothing is
	// missing.
	asked, recovered bool
	// gap is nil when nothing is known to be missing.
	gap *gap
}

// errPosition refuses a position that can't be read.
var errPosition = &fault{codeBadRequest, "Invalid position: epoch and offset must be those of a message"}

// maxEpoch bounds an epoch, in bytes.
const maxEpoch = 64

// resume reads where a join or subscription shall go on; nil: the client did
// not ask for what it missed.
func (cmd command) resume() (*resume, error) {
	var data struct {
		Recover jsontext.Value `json:"recover"`
	}
	if err := cmd.decode(&data); err != nil {
		return nil, err
	}
	return parsePosition(data.Recover)
}

// parsePosition reads {epoch, offset}; nil and null are no position.
func parsePosition(text jsontext.Value) (*resume, error) {
	if text == nil || text.Kind() == 'n' {
		return nil, nil //nolint:nilnil // No position is no error.
	}
	var at struct {
		Epoch  string `json:"epoch"`
		Offset string `json:"offset"`
	}
	if text.Kind() != '{' || json.Unmarshal(text, &at) != nil || at.Epoch == "" || len(at.Epoch) > maxEpoch {
		return nil, errPosition
	}
	offset, err := history.ParseOffset(at.Offset)
	if err != nil {
		return nil, errPosition
	}
	return &resume{at.Epoch, offset}, nil
}

// notKept answers a join of what has no history. Nothing can be shown to have
// been missed, nor that nothing was: so it is not recovered, and there is a gap
// without offsets. It returns nil when recovery was not asked for.
func notKept(from *resume) *joined {
	if from == nil {
		return nil
	}
	return &joined{asked: true, gap: &gap{reason: history.ReasonExpired}}
}

// channelJoinedFrame answers a join. at is nil where nothing is kept and
// recovery was not asked for.
func channelJoinedFrame(c *conn, id jsontext.Value, channel address.Channel, at *joined) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoChannelJoined(id, channel, at)
	}
	b := appendHead(nil, "channel_joined", id)
	b = appendMember(b, "channel", channel.String())
	return frame.Text(append(appendJoined(b, c.dialect, at), endOfData...))
}

// notificationsSubscribedFrame answers a subscription. at is as above.
func notificationsSubscribedFrame(c *conn, id jsontext.Value, types []string, at *joined) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoSubscribed(id, types, at)
	}
	b := appendHead(nil, "notifications_subscribed", id)
	b = appendTypes(b, types)
	return frame.Text(append(appendJoined(b, c.dialect, at), endOfData...))
}

// gapFrame tells that something is missing: in a channel or, if that is zero,
// among the user's notifications. Clients of the plain dialect don't know it.
func gapFrame(c *conn, channel address.Channel, g gap) *frame.Frame {
	if c.dialect == handshake.Proto {
		return protoGapFrame(channel, g)
	}
	b := appendHead(nil, "gap", nil)
	if !channel.IsZero() {
		b = appendMember(b, "channel", channel.String())
	}
	return frame.Text(append(appendGap(b, g), endOfData...))
}

// appendJoined appends what a client of dialect d learns of the history.
func appendJoined(b []byte, d handshake.Dialect, at *joined) []byte {
	if at == nil || d == handshake.Plain {
		return b
	}
	if at.epoch != "" {
		b = appendMember(b, "epoch", at.epoch)
		b = appendMember(b, "offset", history.FormatOffset(at.offset))
	}
	if at.asked {
		b = appendBool(b, "recovered", at.recovered)
	}
	if at.gap != nil {
		b = append(appendName(b, "gap"), '{')
		b = append(appendGap(b, *at.gap), '}')
	}
	return b
}

// appendGap appends the members of a gap.
func appendGap(b []byte, g gap) []byte {
	if from, to := g.offsets(); to != "" {
		b = appendMember(b, "from", from)
		b = appendMember(b, "to", to)
	}
	b = appendMember(b, "reason", string(g.reason))
	if g.epoch != "" {
		b = appendMember(b, "epoch", g.epoch)
	}
	return b
}

// offsets returns both ends; empty where offsets are not known.
func (g gap) offsets() (from, to string) {
	if g.from == 0 && g.to == 0 {
		return "", ""
	}
	return history.FormatOffset(g.from), history.FormatOffset(g.to)
}

// appendBool appends a member that is true or false.
func appendBool(b []byte, name string, value bool) []byte {
	b = appendName(b, name)
	if value {
		return append(b, "true"...)
	}
	return append(b, "false"...)
}

// appendPosition appends a member that is a position.
func appendPosition(b []byte, name string, at resume) []byte {
	b = append(appendName(b, name), '{')
	b = appendMember(b, "epoch", at.epoch)
	b = appendMember(b, "offset", history.FormatOffset(at.offset))
	return append(b, '}')
}

// appendTypes appends the member that lists notification types.
func appendTypes(b []byte, types []string) []byte { return appendStrings(b, "types", types) }

// appendStrings appends a member that is a list of strings.
func appendStrings(b []byte, name string, values []string) []byte {
	b = append(appendName(b, name), '[')
	for i, value := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(b, value)
	}
	return append(b, ']')
}
