package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

const (
	subjectDirectGet = "$JS.API.DIRECT.GET." + streamHistory
	prefixLeaderGet  = "$JS.API.STREAM.MSG.GET."

	headerStatus   = "Status"
	headerPending  = "Nats-Num-Pending"
	headerUpTo     = "Nats-UpTo-Sequence"
	statusEnd      = "204"
	statusNotFound = "404"
)

// errNoMessage says that a stream has no such message.
var errNoMessage = errors.New("no such message is stored")

// errUnasked says that an answer is not to the question. It is never passed on as
// it is.
var errUnasked = errors.New("history answers what was not asked")

// getRequest asks a stream for messages.
type getRequest struct {
	Seq       uint64     `json:"seq,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	LastFor   string     `json:"last_by_subj,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
	UpTo      uint64     `json:"up_to_seq,omitempty"`
}

// storedMessage is what a leader answers.
type storedMessage struct {
	Subject  string `json:"subject"`
	Sequence uint64 `json:"seq"`
	Data     []byte `json:"data"`
}

// leaderGet asks the leader of a stream for one message.
func (s *store) leaderGet(ctx context.Context, stream string, r getRequest) (*storedMessage, error) {
	if stream == streamHistory {
		s.metrics.readsLeader.Inc()
	}
	got, err := s.asker.ask(ctx, prefixLeaderGet+stream, r, 1, s.timeout)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Message *storedMessage `json:"message"`
		Error   *struct {
			ErrCode     uint16 `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	err = json.Unmarshal(got[0].Data, &answer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer of %s: %w", stream, errors.Join(message.ErrUnavailable, err))
	case answer.Error != nil && answer.Error.ErrCode == codeNoMessage:
		return nil, errNoMessage
	case answer.Error != nil:
		return nil, fmt.Errorf("%s: %s: %w", stream, answer.Error.Description, message.ErrUnavailable)
	case answer.Message == nil:
		return nil, fmt.Errorf("answer of %s is empty: %w", stream, message.ErrUnavailable)
	}
	return answer.Message, nil
}

// directGet asks any server that has the history, for up to so many messages. end
// is the last answer, which has no message; nil if there are none at all.
func (s *store) directGet(ctx context.Context, r getRequest, most int) (got []*nats.Msg, end *nats.Msg, err error) {
	s.metrics.readsDirect.Inc()
	got, err = s.asker.ask(ctx, subjectDirectGet, r, most+2, s.timeout)
	if err != nil {
		return nil, nil, err
	}
	end = got[len(got)-1]
	got = got[:len(got)-1]
	switch status := end.Header.Get(headerStatus); status {
	case statusEnd:
		return got, end, nil
	case statusNotFound:
		return nil, nil, nil
	default:
		return nil, nil, fmt.Errorf("history answers %q: %w", status, message.ErrUnavailable)
	}
}

// original is the message that had a key first.
type original struct {
	id      message.ID
	content string
}

// first reads the message at offset of a stream.
func (s *store) first(ctx context.Context, stream string, offset uint64) (original, error) {
	msg, err := s.leaderGet(ctx, stream, getRequest{Seq: offset})
	if err != nil {
		return original{}, err
	}
	var e clusterv1.Envelope
	if proto.Unmarshal(msg.Data, &e) != nil || len(e.GetId()) != len(message.ID{}) {
		return original{}, errNoMessage
	}
	return original{message.ID(e.GetId()), string(e.GetFingerprint())}, nil
}

// storedEntry is one entry of the history: where it stands, and what is there
// unless it can't be read or has expired.
type storedEntry struct {
	offset  uint64
	pending uint64 // how many of the same target are behind it
	msg     *message.Message
}

// openStored reads an answer of directGet. ok is false for what is not of t.
func openStored(msg *nats.Msg, t address.Target, subject, epoch string, now time.Time) (e storedEntry, ok bool) {
	if msg.Header.Get(jetstream.StreamHeader) != streamHistory || msg.Header.Get(jetstream.SubjectHeader) != subject {
		return storedEntry{}, false
	}
	if e.offset, ok = parseSequence(msg.Header.Get(jetstream.SequenceHeader)); !ok {
		return storedEntry{}, false
	}
	if e.pending, ok = parseSequence(msg.Header.Get(headerPending)); !ok {
		return storedEntry{}, false
	}
	e.msg = openStoredData(msg.Data, t, e.offset, epoch, now)
	return e, true
}

// openStoredData reads a stored envelope; nil if it is not one for t or is
// expired.
func openStoredData(data []byte, t address.Target, offset uint64, epoch string, now time.Time) *message.Message {
	m, err := openEnvelope(prefixCopy+targetTokens(t), data, now)
	if err != nil || m.Target != t || !m.Deadline.IsZero() && now.After(m.Deadline) {
		return nil
	}
	// Receipts are about what comes live.
	m.ReportTo, m.Receipt = "", message.ReceiptRequest{}
	m.Position = message.Position{Epoch: epoch, Offset: offset}
	return m
}
