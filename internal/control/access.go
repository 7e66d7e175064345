package control

import (
	"context"
	"strings"

	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// isOpen reports whether the methods of a service need no key: those of the
// health service, which load balancers ask.
func isOpen(service string) bool {
	return service == grpc_health_v1.Health_ServiceDesc.ServiceName
}

// authorize returns the name of the key that the call carries. Every cause of
// refusal gives the same error. Without keys the API is open and the name is
// empty.
func authorize(ctx context.Context, keys Keys) (caller string, err error) {
	if keys == nil {
		return "", nil
	}
	key, ok := bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
	if !ok {
		return "", errUnauthenticated
	}
	caller, ok = keys.find(key)
	if !ok {
		return "", errUnauthenticated
	}
	return caller, nil
}

// bearer returns the key of the one authorization header.
func bearer(headers []string) (key string, ok bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, key, ok := strings.Cut(headers[0], " ")
	return key, ok && strings.EqualFold(scheme, "bearer")
}
