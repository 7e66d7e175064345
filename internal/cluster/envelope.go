package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// envelopeVersion is the only layout that is sent and read.
const envelopeVersion = 1

// lateness is how long after PublishTimeout a message without a deadline of
// its own may still be delivered. It leaves room for clocks that differ.
const lateness = 5 * time.Second

// Why an envelope is refused. Each is a reason of the dropped metric.
var (
	errMalformed = errors.New("envelope is malformed")
	errVersion   = errors.New("envelope has another version")
	errForeign   = errors.New("envelope does not fit its subject")
	errExpired   = errors.New("deadline has passed")
)

// identity is who this run of this node is.
type identity struct {
	node        string
	incarnation uint64
	version     string
	started     time.Time
	// historyRules tells other rules; 0: it keeps nothing. historyNode says that
	// it stores a part of the history of a mesh.
	historyRules uint64
	historyNode  bool
}

// sealer makes envelopes of this node. Safe for concurrent use.
type sealer struct {
	self identity
	idle sync.Pool // of *clusterv1.Envelope
}

// seal writes m, with the deadline that the caller has set. fingerprint is that of
// what has a key, nil otherwise: the key itself stays here.
func (s *sealer) seal(m *message.Message, fingerprint []byte) ([]byte, error) {
	e, ok := s.idle.Get().(*clusterv1.Envelope)
	if !ok {
		e = &clusterv1.Envelope{}
	}
	fill(e, m, s.self)
	e.Fingerprint = fingerprint
	data, err := proto.Marshal(e)
	e.Payload, e.Fingerprint = nil, nil // Others' memory is not kept.
	s.idle.Put(e)
	if err != nil {
		return nil, fmt.Errorf("marshal envelope: %w", err)
	}
	return data, nil
}

// fill makes e the envelope of m. Of e nothing but memory is used, and nothing
// points to m but the payload.
func fill(e *clusterv1.Envelope, m *message.Message, from identity) {
	id, exclude := e.Id[:0], e.ExcludeConnection[:0]
	proto.Reset(e)
	e.Version = envelopeVersion
	id = append(id, m.ID[:]...)
	e.Id = id
	e.OriginNode, e.OriginIncarnation = from.node, from.incarnation
	e.AcceptedAt = m.AcceptedAt.UnixMilli()
	e.TransitDeadline = m.Transit
	e.Kind = wireKind(m.Target.Kind())
	e.TenantId = m.Target.Tenant().String()
	e.UserId = m.Target.User().String()
	e.Channel = m.Target.Channel().String()
	e.NotificationType = m.NotificationType
	e.ReportTo = m.ReportTo
	e.Traceparent = m.TraceParent
	e.Payload = m.Payload
	e.FromClient = m.FromClient
	if !m.Deadline.IsZero() {
		e.Deadline = m.Deadline.UnixMilli()
	}
	if m.ReportTo != "" && m.Receipt.Level != message.LevelNone {
		e.ReceiptLevel = clusterv1.ReceiptLevel(m.Receipt.Level)
		e.ReceiptTimeout = uint32(min(max(1, m.Receipt.Timeout.Milliseconds()), maxReceiptWait.Milliseconds())) //nolint:gosec // Both are small.
	}
	if !m.Exclude.IsZero() {
		exclude = append(exclude, m.Exclude[:]...)
		e.ExcludeConnection = exclude
	}
}

// opener reads envelopes, one at a time.
type opener struct{ envelope clusterv1.Envelope }

// openMessage reads what NATS brought. A copy of a stored message gets its
// position in epoch from the headers of the stream; an empty epoch says that
// this node knows no history, and that the position means nothing to it.
func (o *opener) openMessage(msg *nats.Msg, epoch string, now time.Time) (*message.Message, error) {
	offset, previous, ok := copyPosition(msg)
	if !ok {
		return nil, errForeign
	}
	m, err := o.open(msg.Subject, msg.Data, now)
	if err != nil {
		return nil, err
	}
	if offset != 0 && epoch != "" {
		m.Position, m.Previous = message.Position{Epoch: epoch, Offset: offset}, previous
	}
	return m, nil
}

// openEnvelope reads what came on subject. The target is parsed anew and must
// be the one that the subject is for: the second wall between tenants.
func openEnvelope(subject string, data []byte, now time.Time) (*message.Message, error) {
	return (&opener{}).open(subject, data, now)
}

// open is openEnvelope; of the message nothing stays with o but its payload.
func (o *opener) open(subject string, data []byte, now time.Time) (*message.Message, error) {
	e := &o.envelope
	if err := proto.Unmarshal(data, e); err != nil {
		return nil, errMalformed
	}
	if e.GetVersion() != envelopeVersion {
		return nil, errVersion
	}
	target, err := wireTarget(e)
	if err != nil {
		return nil, errMalformed
	}
	if !carries(subject, target) {
		return nil, errForeign
	}
	receipt, ok := wireReceipt(e)
	if !ok {
		return nil, errMalformed
	}
	// Where a receipt is wanted, the sink counts whom it came too late for.
	late := e.GetDeadline() != 0 && now.UnixMilli() > e.GetDeadline()
	if late && receipt.Level == message.LevelNone {
		return nil, errExpired
	}
	m := &message.Message{
		Target:           target,
		NotificationType: e.GetNotificationType(),
		AcceptedAt:       time.UnixMilli(e.GetAcceptedAt()),
		ReportTo:         e.GetReportTo(),
		Receipt:          receipt,
		TraceParent:      e.GetTraceparent(),
		Payload:          e.GetPayload(),
		FromClient:       e.GetFromClient(),
	}
	if e.GetDeadline() != 0 {
		m.Deadline, m.Transit = time.UnixMilli(e.GetDeadline()), e.GetTransitDeadline()
	}
	if len(e.GetId()) != len(m.ID) || !utf8.Valid(m.Payload) {
		// Clients would close for text that is not UTF-8: all that it reaches.
		return nil, errMalformed
	}
	copy(m.ID[:], e.GetId())
	if x := e.GetExcludeConnection(); len(x) != 0 {
		if len(x) != len(m.Exclude) {
			return nil, errMalformed
		}
		copy(m.Exclude[:], x)
	}
	return m, nil
}

// wireReceipt reads what is to be reported. What was made by a later version
// can't be.
func wireReceipt(e *clusterv1.Envelope) (r message.ReceiptRequest, ok bool) {
	if e.GetReportTo() != "" {
		if _, _, ok := parseReplySubject(e.GetReportTo()); !ok {
			return r, false
		}
	}
	level := e.GetReceiptLevel()
	switch {
	case level == clusterv1.ReceiptLevel_RECEIPT_LEVEL_UNSPECIFIED:
		return r, true
	case level < 0 || level > clusterv1.ReceiptLevel_RECEIPT_LEVEL_ACKED || e.GetReportTo() == "":
		return r, false
	}
	wait := time.Duration(e.GetReceiptTimeout()) * time.Millisecond
	return message.ReceiptRequest{
		Level:   message.Level(level),
		Timeout: min(max(wait, time.Millisecond), maxReceiptWait),
	}, true
}

func wireKind(k address.Kind) clusterv1.Kind {
	switch k {
	case address.KindUser:
		return clusterv1.Kind_KIND_USER
	case address.KindTenant:
		return clusterv1.Kind_KIND_TENANT
	case address.KindChannel:
		return clusterv1.Kind_KIND_CHANNEL
	case address.KindAll:
		return clusterv1.Kind_KIND_ALL
	default:
		return clusterv1.Kind_KIND_UNSPECIFIED
	}
}

// wireTarget parses the target fields. A field that the kind doesn't have must
// be empty.
func wireTarget(e *clusterv1.Envelope) (address.Target, error) { //nolint:cyclop // One case per kind, and what each must not have.
	tenant, user, channel := e.GetTenantId(), e.GetUserId(), e.GetChannel()
	if e.GetNotificationType() != "" {
		if e.GetKind() != clusterv1.Kind_KIND_USER {
			return address.Target{}, errMalformed
		}
		if _, err := address.ParseNotificationType(e.GetNotificationType()); err != nil {
			return address.Target{}, fmt.Errorf("envelope: %w", err)
		}
	}
	switch {
	case e.GetKind() == clusterv1.Kind_KIND_USER && channel == "":
		return wireUser(tenant, user)
	case e.GetKind() == clusterv1.Kind_KIND_TENANT && user == "" && channel == "":
		id, err := address.ParseTenantID(tenant)
		if err != nil {
			return address.Target{}, fmt.Errorf("envelope: %w", err)
		}
		return address.TenantTarget(id)
	case e.GetKind() == clusterv1.Kind_KIND_CHANNEL && user == "":
		return wireChannel(tenant, channel)
	case e.GetKind() == clusterv1.Kind_KIND_ALL && tenant == "" && user == "" && channel == "":
		return address.AllTarget(), nil
	default:
		return address.Target{}, errMalformed
	}
}

func wireUser(tenant, user string) (address.Target, error) {
	t, err := address.ParseTenantID(tenant)
	if err != nil {
		return address.Target{}, fmt.Errorf("envelope: %w", err)
	}
	u, err := address.ParseUserID(user)
	if err != nil {
		return address.Target{}, fmt.Errorf("envelope: %w", err)
	}
	return address.UserTarget(t, u)
}

func wireChannel(tenant, channel string) (address.Target, error) {
	c, err := address.ParseChannel(channel)
	if err != nil {
		return address.Target{}, fmt.Errorf("envelope: %w", err)
	}
	if c.IsPublic() {
		if tenant != "" {
			return address.Target{}, errMalformed
		}
		return address.ChannelTarget(address.TenantID{}, c)
	}
	t, err := address.ParseTenantID(tenant)
	if err != nil {
		return address.Target{}, fmt.Errorf("envelope: %w", err)
	}
	return address.ChannelTarget(t, c)
}

// dropReason names the reason of a refused envelope.
func dropReason(err error) string {
	switch {
	case errors.Is(err, errVersion):
		return dropVersion
	case errors.Is(err, errForeign):
		return dropForeign
	case errors.Is(err, errExpired):
		return dropExpired
	default:
		return dropMalformed
	}
}
