package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/aegisx/pushd/internal/address"
)

// Subjects, version 1. Nothing else in pushd builds or reads one.
//
//	pd1.e.<tenant>.<sh>.<id>   messages to a user or a channel, not stored
//	pd1.c.<tenant>.<sh>.<id>   copies of stored ones; only the stream makes them
//	pd1.*.<tenant>.<sh>.<id>   interest in both
//	pd1.t.<tenant>             messages to a tenant
//	pd1.a                      messages to all
//	pd1.hb.<node>              heartbeats
//	pd1.q.<op>                 questions to every node
//	pd1.r.<node>.<id>          answers to a node
//	pd1.ep.history             the epoch's record has changed; a copy of it
//
// Only streams subscribe these:
//
//	pdh1.<tenant>.<sh>.<id>    messages to store; copied to pd1.c.…
//	pdk1.<kind>.…              messages with a key, not stored for clients;
//	                           copied to pd1.<kind>.…
//	pde1.history               the epoch's record
//
// <tenant> and <id> are address.Target's tokens; a user's <id> is two tokens.
// <sh> is a number of two digits that streams can later own ranges of.
const (
	subjectRoot   = "pd1."
	prefixLive    = subjectRoot + "e."
	prefixCopy    = subjectRoot + "c."
	prefixAnyKind = subjectRoot + "*."
	prefixTenant  = subjectRoot + "t."
	subjectAll    = subjectRoot + "a"

	prefixHeartbeat = subjectRoot + "hb."
	prefixQuery     = subjectRoot + "q."
	prefixReply     = subjectRoot + "r."

	subjectAnyHeartbeat = prefixHeartbeat + "*"
	subjectAnyQuery     = prefixQuery + "*"
	subjectHello        = prefixQuery + "hello"
	subjectStats        = prefixQuery + "stats"
	subjectConfirm      = prefixQuery + "confirm"
	subjectInterest     = prefixQuery + "interest"

	prefixStore        = "pdh1."
	prefixKeyed        = "pdk1."
	subjectEpoch       = "pde1.history"
	subjectEpochCopied = subjectRoot + "ep.history"

	shards = 64
)

// publishSubject returns where a message for t goes; empty for the zero Target.
func publishSubject(t address.Target) string { return targetSubject(prefixLive, t) }

// interestSubject returns what to subscribe to receive messages for t; empty
// for the zero Target.
func interestSubject(t address.Target) string { return targetSubject(prefixAnyKind, t) }

// wideSubjects returns what to subscribe to receive every message.
func wideSubjects() []string {
	return []string{prefixLive + ">", prefixCopy + ">", prefixTenant + ">", subjectAll}
}

// storeSubject returns where a message for t goes to be stored; empty for what
// is no user and no channel.
func storeSubject(t address.Target) string {
	if k := t.Kind(); k != address.KindUser && k != address.KindChannel {
		return ""
	}
	return tokensBehind(prefixStore, t)
}

// keyedSubject returns where a message for t goes that has a key and is not
// stored; empty for the zero Target.
func keyedSubject(t address.Target) string {
	rest, ok := strings.CutPrefix(publishSubject(t), subjectRoot)
	if !ok {
		return ""
	}
	return prefixKeyed + rest
}

// sourceOf returns the stream, and the subject in it, that a message on subject
// is a copy of, if it is one. Only the history makes copies to pd1.c.
func sourceOf(subject string) (stream, source string) {
	if rest, ok := strings.CutPrefix(subject, prefixCopy); ok {
		return streamHistory, prefixStore + rest
	}
	return streamKeys, prefixKeyed + strings.TrimPrefix(subject, subjectRoot)
}

// isCopy reports whether subject carries copies of stored messages.
func isCopy(subject string) bool { return strings.HasPrefix(subject, prefixCopy) }

// parseCopySubject returns whom the stored message is for that is copied to
// subject.
func parseCopySubject(subject string) (address.Target, bool) {
	rest, ok := strings.CutPrefix(subject, prefixCopy)
	if !ok {
		return address.Target{}, false
	}
	tenantToken, rest, _ := strings.Cut(rest, ".")
	_, id, _ := strings.Cut(rest, ".")
	userToken, isUser := strings.CutPrefix(id, "+u.")
	tenant, public := "", tenantToken == "+public"
	if !public {
		if tenant, ok = address.DecodeToken(tenantToken); !ok {
			return address.Target{}, false
		}
	}
	name, ok := address.DecodeToken(strings.TrimPrefix(id, "+u."))
	if !ok || isUser && userToken == "" {
		return address.Target{}, false
	}
	var t address.Target
	var err error
	if isUser {
		t, err = wireUser(tenant, name)
	} else {
		t, err = wireChannel(tenant, name)
	}
	return t, err == nil && subject == prefixCopy+targetTokens(t)
}

// messageKeyID names a key for the streams: what has the same one within two
// minutes is a duplicate. It belongs to the tenant of t. Everybody has a scope
// of its own, which no tenant's token can be.
func messageKeyID(t address.Target, key string) string {
	scope := t.TenantToken()
	if scope == "" {
		scope = "+all"
	}
	sum := sha256.Sum256([]byte(key))
	return scope + "." + hex.EncodeToString(sum[:16])
}

func targetSubject(prefix string, t address.Target) string {
	switch t.Kind() {
	case address.KindUser, address.KindChannel:
		return tokensBehind(prefix, t)
	case address.KindTenant:
		return prefixTenant + t.TenantToken()
	case address.KindAll:
		return subjectAll
	default:
		return ""
	}
}

// targetTokens returns <tenant>.<sh>.<id>.
func targetTokens(t address.Target) string { return tokensBehind("", t) }

// tokensBehind returns prefix and the tokens of t, in one piece.
func tokensBehind(prefix string, t address.Target) string {
	tenant, id := t.TenantToken(), t.IDToken()
	shard := shardToken(tenant, id)
	return prefix + tenant + "." + string(shard[:]) + "." + id
}

// shardToken spreads subjects over 64 shards. It is fixed for ever: streams own
// ranges of it.
func shardToken(tenant, id string) [2]byte {
	var room [128]byte // Most names fit.
	text := append(append(append(room[:0], tenant...), 0), id...)
	h := xxhash.Sum64(text) % shards
	return [2]byte{'0' + byte(h/10), '0' + byte(h%10)}
}

// carries reports whether a message for t may come on subject.
func carries(subject string, t address.Target) bool {
	switch t.Kind() {
	case address.KindUser, address.KindChannel:
		rest, ok := strings.CutPrefix(subject, subjectRoot)
		if !ok {
			return false
		}
		kind, tokens, ok := strings.Cut(rest, ".")
		return ok && (kind == "e" || kind == "c") && areTokens(tokens, t)
	default:
		return !t.IsZero() && subject == publishSubject(t)
	}
}

// areTokens reports whether tokens are those of t.
func areTokens(tokens string, t address.Target) bool {
	tenant, id := t.TenantToken(), t.IDToken()
	shard := shardToken(tenant, id)
	tokens, ok := strings.CutPrefix(tokens, tenant)
	return ok && len(tokens) == len(id)+4 && tokens[0] == '.' && tokens[1:3] == string(shard[:]) && tokens[3] == '.' && tokens[4:] == id
}

// subjectKind tells what kind of target a subject is for; 0 for subjects that
// carry no messages.
func subjectKind(subject string) address.Kind {
	rest, ok := strings.CutPrefix(subject, subjectRoot)
	if !ok {
		return 0
	}
	kind, tokens, _ := strings.Cut(rest, ".")
	switch kind {
	case "e", "c":
		if strings.Contains(tokens, ".+u.") {
			return address.KindUser
		}
		return address.KindChannel
	case "t":
		return address.KindTenant
	case "a":
		return address.KindAll
	default:
		return 0
	}
}

func heartbeatSubject(node string) string { return prefixHeartbeat + node }

func anyReplySubject(node string) string { return prefixReply + node + ".*" }

func replySubject(node string, id uint64) string {
	return prefixReply + node + "." + strconv.FormatUint(id, 10)
}

// parseReplySubject reads what replySubject made.
func parseReplySubject(s string) (node string, id uint64, ok bool) {
	rest, ok := strings.CutPrefix(s, prefixReply)
	if !ok {
		return "", 0, false
	}
	node, digits, ok := strings.Cut(rest, ".")
	if !ok || !validNodeName(node) {
		return "", 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(id, 10) != digits {
		return "", 0, false
	}
	return node, id, true
}

// maxNodeName bounds node names, in bytes.
const maxNodeName = 64

// validNodeName reports whether s may name a node: such a name is a subject
// token as it is.
func validNodeName(s string) bool {
	return s != "" && len(s) <= maxNodeName && address.EncodeToken(s) == s
}
