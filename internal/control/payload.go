package control

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// The JSON around a payload.
const (
	beforeNotification = `{"type":"notification","data":`
	beforeType         = `{"type":`
	beforeData         = `,"data":`
	afterData          = `}`
)

// Names of the payload's fields.
const (
	fieldPayload = "payload" // of the oneof, when none is given
	fieldJSON    = "json"
	fieldData    = "data"
	fieldRaw     = "raw"
)

// content is the payload of a request, whichever field it came in.
type content struct {
	field string           // one of the above, empty for none
	text  string           // of json and raw
	data  *structpb.Struct // of data
}

// composer makes payloads. Safe for concurrent use.
type composer struct{ limit int } // of what the caller gives, in bytes

// notification returns the payload of a notification: one JSON object in one
// line.
func (c composer) notification(f *fields, given content) []byte {
	if given.field == "" {
		f.refuse(fieldPayload, reasonBadRequest, "json or data is required")
		return nil
	}
	text := c.textOf(f, given)
	buf := make([]byte, 0, len(beforeNotification)+len(text)+len(afterData))
	buf = append(buf, beforeNotification...)
	return finish(f, given.field, buf, text)
}

// event returns the payload of an event: one JSON object in one line.
func (c composer) event(f *fields, eventType string, given content) []byte {
	switch given.field {
	case fieldRaw:
		if eventType != "" {
			f.refuse("event_type", reasonBadRequest, "must be empty with raw, which has a type of its own")
		}
		return c.raw(f, given)
	case "":
		f.refuse(fieldPayload, reasonBadRequest, "json, data or raw is required")
		if eventType == "" {
			return nil // raw may be what is missing
		}
	}
	if fault := eventTypeFault(eventType); fault != "" {
		f.refuse("event_type", reasonBadRequest, fault)
	}
	if given.field == "" {
		return nil
	}
	text := c.textOf(f, given)
	// Quoting at most doubles a type without control characters.
	buf := make([]byte, 0, len(beforeType)+2*len(eventType)+2+len(beforeData)+len(text)+len(afterData))
	buf = append(buf, beforeType...)
	buf, err := jsontext.AppendQuote(buf, eventType)
	if err != nil {
		return nil // it is not UTF-8, which was refused above
	}
	buf = append(buf, beforeData...)
	return finish(f, given.field, buf, text)
}

// textOf returns the JSON text of given, not yet checked; "" after a refusal.
func (c composer) textOf(f *fields, given content) string {
	text := given.text
	if given.field == fieldData {
		var ok bool
		if text, ok = dataText(given.data); !ok {
			f.refuse(fieldData, reasonBadRequest, "must hold no NaN, no infinity and no value without a kind")
			return ""
		}
	}
	if !c.fits(f, given.field, text) {
		return ""
	}
	if text == "" {
		f.refuse(given.field, reasonBadRequest, "must not be empty")
	}
	return text
}

func (c composer) fits(f *fields, field, text string) bool {
	if len(text) > c.limit {
		f.refuse(field, reasonMessageTooLarge, fmt.Sprintf("must not be longer than %d bytes of JSON", c.limit))
		return false
	}
	return true
}

// finish appends the text to what stands before it in buf, checks it there,
// and closes the object. Copied once, checked in place.
func finish(f *fields, field string, buf []byte, text string) []byte {
	if text == "" {
		return nil // refused before
	}
	start := len(buf)
	buf = append(buf, text...)
	value := buf[start:]
	if !jsontext.Value(value).IsValid() {
		f.refuse(field, reasonBadRequest, syntaxFault(value))
		return nil
	}
	message.OneLine(value)
	return append(buf, afterData...)
}

// raw returns the caller's own object.
func (c composer) raw(f *fields, given content) []byte {
	if !c.fits(f, fieldRaw, given.text) {
		return nil
	}
	buf := []byte(given.text)
	if fault := rawFault(buf); fault != "" {
		f.refuse(fieldRaw, reasonBadRequest, fault)
		return nil
	}
	message.OneLine(buf)
	return buf
}

// rawFault returns what is wrong with a whole message; "" if nothing is.
func rawFault(text []byte) string {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	if d.PeekKind() != '{' {
		return "must be one JSON object"
	}
	faults := rawFaults{kind: "must have a type"}
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() == '"' {
		err = faults.readMember(d)
	}
	if err == nil {
		_, err = d.ReadToken() // the end of the object
	}
	if err == nil {
		if _, err = d.ReadToken(); errors.Is(err, io.EOF) {
			return cmp.Or(faults.kind, faults.name)
		}
	}
	return syntaxFault(text)
}

// rawFaults is what is wrong with the members of a whole message.
type rawFaults struct{ kind, name string } // of its type, of its names

// readMember reads one member.
func (f *rawFaults) readMember(d *jsontext.Decoder) error {
	name, err := d.ReadToken()
	if err != nil {
		return err //nolint:wrapcheck // It only tells good from bad.
	}
	switch name := name.String(); {
	case isAdded(name):
		f.name = "must not have the members messageId, offset, epoch, channel and deliveryId, which pushd itself adds"
		return d.SkipValue() //nolint:wrapcheck // As above.
	case name != "type":
		return d.SkipValue() //nolint:wrapcheck // As above.
	}
	if d.PeekKind() != '"' {
		f.kind = "must have a string as type"
		return d.SkipValue() //nolint:wrapcheck // As above.
	}
	value, err := d.ReadToken()
	if err != nil {
		return err //nolint:wrapcheck // As above.
	}
	if f.kind = eventTypeFault(value.String()); f.kind != "" {
		f.kind = "type " + f.kind
	}
	return nil
}

// isAdded reports whether pushd puts a member of this name beside the data of
// a message on its way to clients.
func isAdded(name string) bool {
	switch name {
	case "messageId", "offset", "epoch", "channel", "deliveryId":
		return true
	default:
		return false
	}
}

// syntaxFault says where text stops being one JSON value. The library's own
// words quote the text.
func syntaxFault(text []byte) string {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	_, err := d.ReadValue()
	if err == nil {
		_, err = d.ReadToken()
	}
	at := d.InputOffset()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at = syntax.ByteOffset
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Sprintf("must not have a name twice in one object (at byte %d)", at)
	}
	return fmt.Sprintf("must be one valid JSON value (fault at byte %d)", at)
}

// dataText returns compact JSON. ok is false for values that JSON does not
// have.
func dataText(data *structpb.Struct) (text string, ok bool) {
	out, err := protojson.Marshal(data)
	if err != nil {
		return "", false
	}
	// protojson puts in spaces by chance.
	compact := jsontext.Value(out)
	if err := compact.Compact(); err != nil {
		return "", false
	}
	return string(compact), true
}

// eventTypeFault returns what is wrong with the type of an event; "" if
// nothing is.
func eventTypeFault(name string) string {
	switch {
	case name == "":
		return "must not be empty"
	case len(name) > address.MaxType:
		return fmt.Sprintf("must not be longer than %d bytes", address.MaxType)
	case !utf8.ValidString(name):
		return "must be valid UTF-8"
	case isReserved(name):
		return "must not be a type of the protocol itself"
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return "must not contain control characters"
		}
	}
	return ""
}

// isReserved reports whether only pushd itself may send messages of this type.
func isReserved(eventType string) bool {
	switch eventType {
	case "connection", "pong", "channel_joined", "channel_left",
		"notifications_subscribed", "notifications_unsubscribed", "message_sent", "gap",
		"presence", "presence_changed", "history", "token_expiring", "token_refreshed",
		"going_away", "error":
		return true
	default:
		return false
	}
}
