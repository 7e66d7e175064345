package control

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// Bounds of the options of a request.
const (
	// maxKey bounds idempotency_key, in bytes.
	maxKey = 64
	// minTTL and maxTTL bound ttl. minStoredTTL is the least where the message
	// is stored: the history counts in seconds.
	minTTL       = time.Millisecond
	minStoredTTL = time.Second
	maxTTL       = 30 * 24 * time.Hour
	// The wait for a receipt.
	minReceiptTimeout     = time.Millisecond
	maxReceiptTimeout     = 30 * time.Second
	defaultReceiptTimeout = time.Second
)

// delivery is what the four publishing requests have in common: their options.
type delivery interface {
	GetIdempotencyKey() string
	GetTtl() *durationpb.Duration
	GetExcludeConnectionId() string
	GetStore() pushdv1.Store
	GetReceipt() *pushdv1.ReceiptRequest
}

// deliver puts the options of r into m. The target of m is set, unless it was
// refused.
func (s *service) deliver(f *fields, r delivery, m *message.Message) {
	m.AcceptedAt = time.Now()
	m.Key = f.key(r.GetIdempotencyKey())
	m.Exclude = f.connection(r.GetExcludeConnectionId())
	m.Store = f.store(r.GetStore(), m.Target)
	if ttl := r.GetTtl(); ttl != nil {
		m.Deadline = m.AcceptedAt.Add(f.ttl(ttl, s.stores(m)))
	}
	m.Receipt = f.receipt(r.GetReceipt())
}

// stores reports whether m will be in the history.
func (s *service) stores(m *message.Message) bool {
	switch m.Store {
	case message.StoreAlways:
		return true
	case message.StoreNever:
		return false
	default:
		return !m.Target.IsZero() && s.router.Keeps(m.Target)
	}
}

// key is optional.
func (f *fields) key(key string) string {
	const field = "idempotency_key"
	switch {
	case len(key) > maxKey:
		f.refuse(field, reasonBadRequest, fmt.Sprintf("must not be longer than %d bytes", maxKey))
	case !utf8.ValidString(key):
		f.refuse(field, reasonBadRequest, "must be valid UTF-8")
	default:
		for _, r := range key {
			if unicode.IsControl(r) {
				f.refuse(field, reasonBadRequest, "must not contain control characters")
				break
			}
		}
	}
	return key
}

func (f *fields) ttl(given *durationpb.Duration, stored bool) time.Duration {
	least := minTTL
	if stored {
		least = minStoredTTL
	}
	ttl, ok := duration(given, least, maxTTL)
	switch {
	case ok:
	case stored:
		f.refuse("ttl", reasonBadRequest, "must be 1 s to 30 days for a message that is stored")
	default:
		f.refuse("ttl", reasonBadRequest, "must be 1 ms to 30 days")
	}
	return ttl
}

// duration reports whether d is a duration within the bounds.
func duration(d *durationpb.Duration, least, most time.Duration) (time.Duration, bool) {
	v := d.AsDuration()
	return v, d.IsValid() && v >= least && v <= most
}

// connection is optional.
func (f *fields) connection(text string) message.ID {
	if text == "" {
		return message.ID{}
	}
	id, err := message.ParseID(text)
	if err != nil || id.IsZero() {
		f.refuse("exclude_connection_id", reasonBadRequest, "must be the id of a connection: 26 characters")
	}
	return id
}

// store reads the choice; the target may be zero, if it was refused.
func (f *fields) store(choice pushdv1.Store, t address.Target) message.Storing {
	switch choice {
	case pushdv1.Store_STORE_UNSPECIFIED:
		return message.StoreByRule
	case pushdv1.Store_STORE_NEVER:
		return message.StoreNever
	case pushdv1.Store_STORE_ALWAYS:
		if kind := t.Kind(); kind == address.KindTenant || kind == address.KindAll {
			f.refuse("store", reasonBadRequest, "must not be STORE_ALWAYS: only users and channels have a history")
		}
		return message.StoreAlways
	default:
		f.refuse("store", reasonBadRequest, "must be one of the values of Store")
		return message.StoreByRule
	}
}

// receipt is optional.
func (f *fields) receipt(r *pushdv1.ReceiptRequest) message.ReceiptRequest {
	if r == nil {
		return message.ReceiptRequest{}
	}
	out := message.ReceiptRequest{Level: message.LevelNone, Timeout: defaultReceiptTimeout}
	switch r.GetLevel() {
	case pushdv1.ReceiptLevel_RECEIPT_LEVEL_UNSPECIFIED:
		if r.GetTimeout() != nil {
			f.refuse("receipt.level", reasonBadRequest, "is required with a timeout")
		}
	case pushdv1.ReceiptLevel_RECEIPT_LEVEL_QUEUED:
		out.Level = message.LevelQueued
	case pushdv1.ReceiptLevel_RECEIPT_LEVEL_WRITTEN:
		out.Level = message.LevelWritten
	case pushdv1.ReceiptLevel_RECEIPT_LEVEL_ACKED:
		out.Level = message.LevelAcked
	default:
		f.refuse("receipt.level", reasonBadRequest, "must be one of the values of ReceiptLevel")
	}
	if r.GetTimeout() != nil {
		var ok bool
		if out.Timeout, ok = duration(r.GetTimeout(), minReceiptTimeout, maxReceiptTimeout); !ok {
			f.refuse("receipt.timeout", reasonBadRequest, "must be 1 ms to 30 s")
		}
	}
	if out.Level == message.LevelNone {
		return message.ReceiptRequest{}
	}
	return out
}
