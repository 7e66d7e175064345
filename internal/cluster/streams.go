package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/aegisx/pushd/internal/history"
)

// The streams.
const (
	streamHistory = "PD1H" // what is stored for clients
	streamKeys    = "PD1K" // what has a key and is not stored for clients
	streamEpoch   = "PD1E" // the record of the epoch
)

const (
	// keyWindow is for how long a key is known.
	keyWindow = 2 * time.Minute
	// epochBytes bounds the stream of one small record.
	epochBytes = 64 << 10
	// keysShare is the part of the room, one of so many, that keys get.
	keysShare = 8
)

// most is the largest of the rules; it serves for what no rule is for, too.
func (h *HistoryOptions) most() history.Limit {
	if most := h.Rules.Largest(); !most.IsZero() {
		return most
	}
	return history.DefaultLimit()
}

// streamConfigs returns how the streams must be.
func streamConfigs(o *HistoryOptions) (stored, keys, epoch jetstream.StreamConfig) {
	base := jetstream.StreamConfig{
		Retention:         jetstream.LimitsPolicy,
		Storage:           jetstream.FileStorage,
		Replicas:          max(o.Replicas, 1),
		Duplicates:        keyWindow,
		MaxBytes:          -1,
		MaxMsgsPerSubject: -1,
	}
	most := o.most()
	stored = base
	stored.Name, stored.Subjects = streamHistory, []string{prefixStore + ">"}
	stored.RePublish = &jetstream.RePublish{Source: prefixStore + ">", Destination: prefixCopy + ">"}
	stored.MaxMsgsPerSubject = int64(most.Messages)
	stored.MaxAge = max(most.Age, keyWindow)
	stored.Discard = jetstream.DiscardOld
	stored.AllowDirect, stored.AllowMsgTTL = true, true

	keys = base
	keys.Name, keys.Subjects = streamKeys, []string{prefixKeyed + ">"}
	keys.RePublish = &jetstream.RePublish{Source: prefixKeyed + ">", Destination: subjectRoot + ">"}
	keys.MaxAge = keyWindow
	// What is gone can't be compared: rather refuse than forget a key early.
	keys.Discard = jetstream.DiscardNew

	epoch = base
	epoch.Name, epoch.Subjects = streamEpoch, []string{subjectEpoch}
	epoch.RePublish = &jetstream.RePublish{Source: subjectEpoch, Destination: subjectEpochCopied}
	epoch.MaxMsgsPerSubject = 1
	epoch.MaxBytes = epochBytes
	keys.MaxBytes = o.maxBytes() / keysShare
	stored.MaxBytes = o.maxBytes() - keys.MaxBytes - epochBytes
	return stored, keys, epoch
}

// ensure makes a stream that is not there, and returns how it is. One that is
// another than want says is changed while this node starts, and then left alone:
// nodes with other options would change it to and fro.
func (s *store) ensure(ctx context.Context, want jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	stream, err := s.js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		stream, err = s.js.CreateStream(ctx, want)
	case err == nil && s.epoch.Load() == nil && !sameStream(stream.CachedInfo().Config, want):
		stream, err = s.js.UpdateStream(ctx, want)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	return stream.CachedInfo(), nil
}

// sameStream compares what pushd sets.
func sameStream(have, want jetstream.StreamConfig) bool {
	return have.RePublish != nil && *have.RePublish == *want.RePublish &&
		len(have.Subjects) == 1 && have.Subjects[0] == want.Subjects[0] &&
		have.MaxMsgsPerSubject == want.MaxMsgsPerSubject && have.MaxBytes == want.MaxBytes &&
		have.MaxAge == want.MaxAge && have.Duplicates == want.Duplicates && have.Discard == want.Discard &&
		have.Replicas == want.Replicas && have.AllowDirect == want.AllowDirect && have.AllowMsgTTL == want.AllowMsgTTL
}
