package cluster

import (
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/aegisx/pushd/internal/address"
)

// Subjects, version 1. Nothing else in pushd builds or reads one.
//
//	pd1.e.<tenant>.<sh>.<id>   messages to a user or a channel, not stored
//	pd1.*.<tenant>.<sh>.<id>   interest in them, whatever the kind
//	pd1.t.<tenant>             messages to a tenant
//	pd1.a                      messages to all
//	pd1.hb.<node>              heartbeats
//	pd1.q.<op>                 questions to every node
//	pd1.r.<node>.<id>          answers to a node
//
// <tenant> and <id> are address.Target's tokens; a user's <id> is two tokens.
// <sh> is a number of two digits that streams can later own ranges of.
const (
	subjectRoot   = "pd1."
	prefixLive    = subjectRoot + "e."
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

	shards = 64
)

// publishSubject returns where a message for t goes; empty for the zero Target.
func publishSubject(t address.Target) string { return targetSubject(prefixLive, t) }

// interestSubject returns what to subscribe to receive messages for t; empty
// for the zero Target.
func interestSubject(t address.Target) string { return targetSubject(prefixAnyKind, t) }

// wideSubjects returns what to subscribe to receive every message.
func wideSubjects() []string { return []string{prefixLive + ">", prefixTenant + ">", subjectAll} }

func targetSubject(prefix string, t address.Target) string {
	switch t.Kind() {
	case address.KindUser, address.KindChannel:
		return prefix + targetTokens(t)
	case address.KindTenant:
		return prefixTenant + t.TenantToken()
	case address.KindAll:
		return subjectAll
	default:
		return ""
	}
}

// targetTokens returns <tenant>.<sh>.<id>.
func targetTokens(t address.Target) string {
	tenant, id := t.TenantToken(), t.IDToken()
	return tenant + "." + shardToken(tenant, id) + "." + id
}

// shardToken spreads subjects over 64 shards. It is fixed for ever: streams own
// ranges of it.
func shardToken(tenant, id string) string {
	h := xxhash.Sum64String(tenant+"\x00"+id) % shards
	return string([]byte{'0' + byte(h/10), '0' + byte(h%10)})
}

// carries reports whether a message for t may come on subject. The kind of a
// live subject is left open: stored messages will come on another one.
func carries(subject string, t address.Target) bool {
	switch t.Kind() {
	case address.KindUser, address.KindChannel:
		rest, ok := strings.CutPrefix(subject, subjectRoot)
		if !ok {
			return false
		}
		kind, tokens, ok := strings.Cut(rest, ".")
		return ok && kind == "e" && tokens == targetTokens(t)
	default:
		return !t.IsZero() && subject == publishSubject(t)
	}
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
	case "e":
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
