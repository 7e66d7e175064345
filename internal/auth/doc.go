// Package auth turns a client's token into a [Principal] and decides what that
// principal may do.
//
// # Tokens
//
// A [Verifier] takes a JWT in compact form and accepts it only when every one
// of its checks holds. The token is split and decoded strictly and once: what
// the signature covers is what the claims are read from. The algorithm comes
// from the key, never from the token alone: a key verifies the algorithms of
// its own kind and no others. Keys, key addresses and critical extensions in
// the header are refused. Nothing is fetched, and no clock but the own one is
// asked.
//
// Claims of the wrong JSON type are refused and not converted; null is such a
// type. Names are compared byte by byte, and a name that stands twice refuses
// the token. Claims that this package doesn't know are ignored.
//
// # Errors
//
// A token that is right but for its age gives [ErrExpired], any other fault
// [ErrInvalid]: a client may be told these two apart and no more. The text
// behind them names the cause in fixed words; no byte of a token or a key is
// ever in it.
//
// # Permissions
//
// A [Policy] answers whether a principal may join or publish to a channel. It
// asks the spaces with a fixed meaning first (tenant:, notifications:,
// public:); what the token grants counts only outside of them.
//
// # Lifetime and concurrency
//
// The package starts no goroutine and holds no global state. A Verifier and a
// Policy don't change after they are made, and a Principal is never written
// once Verify has returned it: all three are shared freely.
package auth
