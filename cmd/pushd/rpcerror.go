package main

import (
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// rpcError is a refusal of the Control API in words for a terminal.
type rpcError struct {
	text string
	err  error
}

func (e *rpcError) Error() string { return e.text }
func (e *rpcError) Unwrap() error { return e.err }

// explain puts a gRPC error into words: what happened, the reason code, the
// fields at fault, and what to try.
func (c *client) explain(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	var b strings.Builder
	b.WriteString(printable(st.Message()))
	code := st.Code().String()
	var fields []string
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			code += ", " + printable(d.GetReason())
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				fields = append(fields, printable(v.GetField())+": "+printable(v.GetDescription()))
			}
		}
	}
	fmt.Fprintf(&b, " (%s)", code)
	for _, f := range fields {
		b.WriteString("\n  " + f)
	}
	if hint := c.hint(st); hint != "" {
		b.WriteString("\n  " + hint)
	}
	return &rpcError{b.String(), err}
}

// hint says what to try; empty: nothing that is known.
func (c *client) hint(st *status.Status) string {
	switch st.Code() {
	case codes.Unavailable:
		return c.hintUnavailable(st.Message())
	case codes.Unauthenticated:
		return "A bearer key is given by --key-file."
	case codes.DeadlineExceeded:
		return "No answer within " + c.Timeout.String() + "; a longer wait is given by --timeout."
	default:
		return ""
	}
}

// hintUnavailable goes by what gRPC says of a connection that it did not get: it
// keeps no more of the error.
func (c *client) hintUnavailable(said string) string {
	has := func(text string) bool { return strings.Contains(said, text) }
	switch {
	case has("x509: certificate signed by unknown authority"):
		return hintAuthority
	case has("x509: "):
		return hintName
	case has("authentication handshake failed"):
		return hintSpoken + " pushd has no TLS there: --tls is for a proxy before it."
	case !c.TLS && (has("reading server preface") || has("broken pipe") || has("reset by peer")):
		return "The server hung up: does it want --tls, or are its connections used up (--grpc-max-connections)?"
	default:
		return "Is pushd serving at " + c.Server + "? Another address is given by --server."
	}
}
