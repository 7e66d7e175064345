package edge

import (
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// Bounds of what a client may send in one command.
const (
	maxRequestID = 64
	maxTypes     = 32
)

// Error codes of the protocol. The list is closed; codes are only appended.
const (
	codeBadRequest       = "bad_request"
	codeUnknownType      = "unknown_type"
	codeInvalidChannel   = "invalid_channel"
	codeMessageTooLarge  = "message_too_large"
	codePermissionDenied = "permission_denied"
	codeChannelLimit     = "channel_limit"
	codeRateLimited      = "rate_limited"
	codeUnrecoverable    = "unrecoverable"
	codeKeyConflict      = "key_conflict"
	codeNotAvailable     = "not_available"
	codeUnavailable      = "unavailable"
)

// Texts of the protocol.
const (
	textInvalidFormat = "Invalid message format"
	textAccessDenied  = "Access denied to channel"
	textDenied        = "Permission denied"
	textUnavailable   = "Messaging is not available, try again later"
	textRateLimited   = "Too many messages"
)

// fault is a command that was refused; the connection stays.
type fault struct{ code, text string }

// Error implements error.
func (f *fault) Error() string { return f.code + ": " + f.text }

var errInvalidFormat = &fault{codeBadRequest, textInvalidFormat}

// command is what a client asks for. Its parts are copies.
type command struct {
	kind string
	// id is the request id as JSON text, nil when there was none.
	id jsontext.Value
	// data is the JSON object of the command, nil when there was none.
	data jsontext.Value
	// about is the channel that it names, once that was read.
	about address.Channel
}

// bare returns cmd without its data, to be kept for an answer.
func (cmd command) bare() command {
	return command{kind: cmd.kind, id: slices.Clone(cmd.id), about: cmd.about}
}

// subject returns the channel that cmd names; empty: none that could be read.
func (cmd command) subject() string {
	if !cmd.about.IsZero() || cmd.data == nil {
		return cmd.about.String()
	}
	c, err := cmd.channel()
	if err != nil {
		return ""
	}
	return c.String()
}

// parseCommand reads the envelope of one text message: strict JSON, one
// object, no duplicate names. Unknown names are ignored. When the envelope
// could be read, the command comes back with the error, so that the id can be
// echoed.
func parseCommand(text []byte) (command, error) {
	var envelope struct {
		Type jsontext.Value `json:"type"`
		ID   jsontext.Value `json:"id"`
		Data jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return command{}, errInvalidFormat
	}
	if envelope.ID != nil {
		id, err := jsontext.AppendUnquote(nil, envelope.ID)
		if envelope.ID.Kind() != '"' || err != nil || len(id) > maxRequestID {
			return command{}, errInvalidFormat
		}
	}
	cmd := command{id: envelope.ID, data: envelope.Data}
	if envelope.Type.Kind() != '"' {
		return cmd, errInvalidFormat
	}
	kind, err := jsontext.AppendUnquote(nil, envelope.Type)
	if err != nil {
		return cmd, errInvalidFormat
	}
	cmd.kind = string(kind)
	if cmd.data != nil && cmd.data.Kind() != '{' {
		return cmd, errInvalidFormat
	}
	return cmd, nil
}

// decode reads the data of cmd into v. Data is required.
func (cmd command) decode(v any) error {
	if cmd.data == nil {
		return errInvalidFormat
	}
	if err := json.Unmarshal(cmd.data, v); err != nil {
		return errInvalidFormat
	}
	return nil
}

// channel reads the channel of a join or leave.
func (cmd command) channel() (address.Channel, error) {
	var data struct {
		Channel *string `json:"channel"`
	}
	if err := cmd.decode(&data); err != nil {
		return address.Channel{}, err
	}
	return parseChannel(data.Channel)
}

// post is a message for a channel.
type post struct {
	channel address.Channel
	// text is JSON without CR and LF, which can only stand between tokens.
	text []byte
	// key is the JSON text of the key, nil when there was none.
	key jsontext.Value
}

// post reads a message for a channel.
func (cmd command) post() (post, error) {
	var data struct {
		Channel *string        `json:"channel"`
		Message jsontext.Value `json:"message"`
		Key     jsontext.Value `json:"key"`
	}
	if err := cmd.decode(&data); err != nil {
		return post{}, err
	}
	if data.Message == nil {
		return post{}, errInvalidFormat
	}
	c, err := parseChannel(data.Channel)
	if err != nil {
		return post{}, err
	}
	return post{c, message.OneLine(data.Message), data.Key}, nil
}

// types reads the notification types to subscribe to.
func (cmd command) types() ([]string, error) {
	var data struct {
		Types []string `json:"types"`
	}
	if err := cmd.decode(&data); err != nil {
		return nil, err
	}
	if data.Types == nil {
		return nil, errInvalidFormat
	}
	if len(data.Types) > maxTypes {
		return nil, &fault{codeBadRequest, "At most 32 notification types at once"}
	}
	for _, kind := range data.Types {
		if _, err := address.ParseNotificationType(kind); err != nil {
			return nil, &fault{codeBadRequest, "Invalid types: " + nameFault(err)}
		}
	}
	return data.Types, nil
}

func parseChannel(name *string) (address.Channel, error) {
	if name == nil {
		return address.Channel{}, errInvalidFormat
	}
	c, err := address.ParseChannel(*name)
	if err != nil {
		return address.Channel{}, &fault{codeInvalidChannel, "Invalid channel: " + nameFault(err)}
	}
	return c, nil
}

// nameFault returns what is wrong with a name, without the name.
func nameFault(err error) string {
	var bad *address.Error
	if errors.As(err, &bad) {
		return bad.What + " " + bad.Reason
	}
	return "not a name"
}
