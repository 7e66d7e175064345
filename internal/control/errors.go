package control

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/aegisx/pushd/internal/message"
)

// domain is ErrorInfo.domain of every refusal.
const domain = "pushd"

// Reasons: the protocol's error codes in upper case.
const (
	reasonBadRequest      = "BAD_REQUEST"
	reasonInvalidChannel  = "INVALID_CHANNEL"
	reasonMessageTooLarge = "MESSAGE_TOO_LARGE"
	reasonUnauthenticated = "UNAUTHENTICATED"
	reasonRateLimited     = "RATE_LIMITED"
	reasonUnrecoverable   = "UNRECOVERABLE"
	reasonKeyConflict     = "KEY_CONFLICT"
	reasonNotAvailable    = "NOT_AVAILABLE"
	reasonUnavailable     = "UNAVAILABLE"
	reasonInternal        = "INTERNAL"
)

// retryAfter is what callers are told to wait before they try again.
const retryAfter = time.Second

// refusal is an error that a caller is told as it is.
type refusal struct {
	code   codes.Code
	reason string
	text   string
	// violations say which fields are at fault, if any.
	violations []violation
	// retry says that the same call may succeed after retryAfter.
	retry bool
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

// Refusals that say nothing about the request.
var (
	errUnauthenticated = &refusal{code: codes.Unauthenticated, reason: reasonUnauthenticated, text: "a valid bearer key is required"}
	errUnknownMethod   = &refusal{code: codes.Unimplemented, reason: reasonNotAvailable, text: "unknown method"}
	errUnknownService  = &refusal{code: codes.NotFound, reason: reasonBadRequest, text: "unknown service"}
	errTooManyWatches  = &refusal{code: codes.ResourceExhausted, reason: reasonRateLimited, text: "too many watches of health on one connection"}
	errUnreadable      = &refusal{code: codes.InvalidArgument, reason: reasonBadRequest, text: "the request is not a valid message"}
	errStopping        = &refusal{code: codes.Unavailable, reason: reasonUnavailable, text: "the server is shutting down", retry: true}
	errUnrecoverable   = &refusal{code: codes.FailedPrecondition, reason: reasonUnrecoverable, text: "the history that the epoch names is gone"}
	errInternal        = &refusal{code: codes.Internal, reason: reasonInternal, text: "internal error"}
)

// statusOf returns what the caller is told. known is false when err is nothing
// that a caller may see: it is to be logged, and the status is Internal.
func statusOf(err error) (st *status.Status, known bool) {
	if err == nil {
		return nil, true
	}
	if r := refusalOf(err); r != nil {
		return r.status(), true
	}
	// Made by gRPC itself or by its services.
	if st, ok := status.FromError(err); ok {
		return st, true
	}
	return errInternal.status(), false
}

// refusalOf returns the refusal that err is or stands for; nil if none.
func refusalOf(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, message.ErrUnavailable):
		return &refusal{code: codes.Unavailable, reason: reasonUnavailable, text: "messaging is not available, try again later", retry: true}
	case errors.Is(err, message.ErrOverloaded):
		return &refusal{code: codes.ResourceExhausted, reason: reasonRateLimited, text: "too many messages are waiting, try again later", retry: true}
	case errors.Is(err, message.ErrTooLarge):
		return &refusal{code: codes.InvalidArgument, reason: reasonMessageTooLarge, text: "the message is too large"}
	case errors.Is(err, message.ErrKeyConflict):
		return &refusal{code: codes.AlreadyExists, reason: reasonKeyConflict, text: "the idempotency key was used for another message"}
	case errors.Is(err, message.ErrNotStored):
		return &refusal{code: codes.FailedPrecondition, reason: reasonNotAvailable, text: "there is no history here"}
	case errors.Is(err, message.ErrHistoryFull):
		// Room comes back as messages get old.
		return &refusal{code: codes.ResourceExhausted, reason: reasonUnavailable, text: "the history is full, try again later", retry: true}
	case errors.Is(err, context.DeadlineExceeded):
		return &refusal{code: codes.DeadlineExceeded, reason: reasonUnavailable, text: "the deadline passed first; the message may have been delivered"}
	case errors.Is(err, context.Canceled):
		return &refusal{code: codes.Canceled, reason: reasonUnavailable, text: "the call was canceled; the message may have been delivered"}
	default:
		return nil
	}
}

func (r *refusal) status() *status.Status {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Domain: domain, Reason: r.reason}}
	if len(r.violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range r.violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: v.field, Description: v.text,
			})
		}
		details = append(details, bad)
	}
	if r.retry {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	}
	bare := status.New(r.code, r.text)
	full, err := bare.WithDetails(details...)
	if err != nil {
		return bare // the code matters more than the details
	}
	return full
}
