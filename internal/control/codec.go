package control

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// incoming is a request that is about to be read into message.
type incoming struct {
	message any
	err     error // errUnreadable if it could not be
}

// codec is gRPC's own for Protobuf, but what can't be read is the caller's
// fault: gRPC itself would answer Internal.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal implements encoding.CodecV2. Into an *incoming it never fails.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.CodecV2.Unmarshal(data, v) //nolint:wrapcheck // gRPC expects its own errors.
	}
	in.err = nil
	if c.CodecV2.Unmarshal(data, in.message) != nil {
		in.err = errUnreadable
	}
	return nil
}

// read receives into v by way of receive, which decodes by codec.
func read(receive func(any) error, v any) error { return (&incoming{message: v}).read(receive) }

// read receives into the message of in.
func (in *incoming) read(receive func(any) error) error {
	if err := receive(in); err != nil {
		return err
	}
	return in.err
}
