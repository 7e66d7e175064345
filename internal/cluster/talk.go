package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	clusterv1 "github.com/aegisx/pushd/gen/pushd/cluster/v1"
	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/stats"
)

const (
	// controlDepth bounds what other nodes have said and nobody has read.
	controlDepth = 4096
	// queryDepth bounds the questions that wait for their answer.
	queryDepth = 64
)

// talk is what nodes say to each other besides messages: heartbeats, and
// questions with their answers.
type talk struct {
	// Set once.
	self    identity
	out     outlet
	sink    Sink
	roster  *roster
	gather  *gatherer
	reports *receipts
	holds   func(address.Target) bool
	every   time.Duration
	most    int // bytes of an answer
	live    *atomic.Bool
	history *store // nil: none
	log     *slog.Logger
	metrics *metrics
	in      chan *nats.Msg // closed by the reader
	queries chan query     // closed by runControl
	soon    chan struct{}  // capacity 1: a heartbeat is wanted now

	state atomic.Int32 // clusterv1.State
}

type query struct {
	replyTo string
	q       stats.Query
}

// subjects returns what talk must hear.
func (t *talk) subjects() []string {
	return []string{subjectAnyHeartbeat, subjectAnyQuery, anyReplySubject(t.self.node)}
}

// runControl reads until the reader closes its channel.
func (t *talk) runControl() {
	defer close(t.queries)
	for msg := range t.in {
		if !t.handle(msg) {
			t.metrics.drop(dropMalformed)
		}
	}
}

// handle reports false for what no node of this version says.
func (t *talk) handle(msg *nats.Msg) bool {
	switch {
	case strings.HasPrefix(msg.Subject, prefixHeartbeat):
		var hb clusterv1.Heartbeat
		if proto.Unmarshal(msg.Data, &hb) != nil || msg.Subject != heartbeatSubject(hb.GetNode()) {
			return false
		}
		if hb.GetNode() != t.self.node {
			t.history.hear(&hb)
		}
		return t.roster.hear(&hb)
	case strings.HasPrefix(msg.Subject, prefixReply):
		return t.reply(msg)
	case msg.Subject == subjectHello:
		t.beatSoon()
		return true
	case msg.Subject == subjectStats:
		return t.ask(msg.Data)
	case msg.Subject == subjectConfirm:
		return t.confirm(msg.Data)
	case msg.Subject == subjectInterest:
		return t.interested(msg.Data)
	default:
		// A question that a later version asks is no fault.
		return strings.HasPrefix(msg.Subject, prefixQuery)
	}
}

// reply hands an answer to who asked.
func (t *talk) reply(msg *nats.Msg) bool {
	node, id, ok := parseReplySubject(msg.Subject)
	if !ok || node != t.self.node {
		return false
	}
	if receiptID(id) {
		t.reports.take(id, msg.Data)
		return true
	}
	return t.gather.take(id, msg.Data)
}

func (t *talk) ask(data []byte) bool {
	var w clusterv1.StatsQuery
	if proto.Unmarshal(data, &w) != nil {
		return false
	}
	q, ok := parseQuery(&w)
	if !ok {
		return false
	}
	if node, _, _ := parseReplySubject(w.GetReplyTo()); node == t.self.node {
		// The own figures are counted without asking.
		return true
	}
	select {
	case t.queries <- query{w.GetReplyTo(), q}:
	default:
		t.metrics.drop(dropControlFull)
	}
	return true
}

// runAnswers answers until runControl ends.
func (t *talk) runAnswers() {
	for q := range t.queries {
		data, err := t.answer(q.q)
		if err == nil {
			err = t.out.publish(q.replyTo, data)
		}
		if err != nil {
			t.log.Warn("stats query was not answered", "error", err)
		}
	}
}

// answer counts this node. Lists that don't fit in one message are cut; the
// totals beside them tell.
func (t *talk) answer(q stats.Query) ([]byte, error) {
	local := t.sink.Local(q)
	hb := t.self.beat(clusterv1.State(t.state.Load()), local.Totals)
	for {
		data, err := proto.Marshal(wireReport(hb, local))
		if err != nil {
			return nil, fmt.Errorf("encode figures: %w", err)
		}
		if len(data) <= t.most || len(local.Tenants)+len(local.Channels) == 0 {
			return data, nil
		}
		local.Tenants = local.Tenants[:len(local.Tenants)/2]
		local.Channels = local.Channels[:len(local.Channels)/2]
	}
}

// runBeats sends heartbeats until ctx is done.
func (t *talk) runBeats(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.soon:
		case <-timer.C:
		}
		t.beat(clusterv1.State(t.state.Load()))
		timer.Reset(t.every - t.every/10 + rand.N(t.every/5+1)) //nolint:gosec // Jitter is no secret.
	}
}

func (t *talk) beatSoon() {
	select {
	case t.soon <- struct{}{}:
	default:
	}
}

// beat sends one heartbeat. While NATS is away there is nobody to hear it.
func (t *talk) beat(state clusterv1.State) {
	if !t.live.Load() {
		return
	}
	hb := t.self.beat(state, t.sink.Totals())
	t.history.mark(hb)
	data, err := proto.Marshal(hb)
	if err == nil {
		err = t.out.publish(heartbeatSubject(t.self.node), data)
	}
	if err != nil {
		t.log.Warn("heartbeat was not sent", "error", err)
	}
}
