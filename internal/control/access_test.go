package control_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/internal/control"
)

// Who may call what without a key. A method that is missing here fails the
// test.
var openMethods = map[string]bool{
	"/pushd.v1.ControlService/NotifyUser":                            false,
	"/pushd.v1.ControlService/BroadcastTenant":                       false,
	"/pushd.v1.ControlService/SendChannel":                           false,
	"/pushd.v1.ControlService/BroadcastAll":                          false,
	"/pushd.v1.ControlService/Publish":                               false,
	"/pushd.v1.ControlService/Stats":                                 false,
	"/pushd.v1.AdminService/GetHistory":                              false,
	"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      false,
	"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": false,
	"/grpc.health.v1.Health/Check":                                   true,
	"/grpc.health.v1.Health/List":                                    true,
	"/grpc.health.v1.Health/Watch":                                   true,
}

// services asks the reflection service.
func services(ctx context.Context, t *testing.T, conn *grpc.ClientConn) []string {
	t.Helper()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	return names
}

// try sends an empty request and returns the error of the first answer.
func try(ctx context.Context, conn *grpc.ClientConn, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, path)
	if err != nil {
		return err
	}
	// An error of the sender shows as one of the receiver.
	_ = stream.SendMsg(&emptypb.Empty{})
	_ = stream.CloseSend()
	return stream.RecvMsg(&emptypb.Empty{})
}

// Every method of every service, with every kind of key.
func TestAccess(t *testing.T) {
	r := &router{}
	f := start(t, control.Options{Keys: mustKeys(t, "other "+strings.Repeat("o", 32)+"\nbackend "+goodKey)}, r)
	credentials := map[string]struct {
		headers []string
		good    bool
	}{
		"good key":      {[]string{"Bearer " + goodKey}, true},
		"other key":     {[]string{"bearer " + strings.Repeat("o", 32)}, true},
		"none":          {nil, false},
		"wrong key":     {[]string{"Bearer " + strings.Repeat("w", 32)}, false},
		"prefix of it":  {[]string{"Bearer " + goodKey[:len(goodKey)-1]}, false},
		"more than it":  {[]string{"Bearer " + goodKey + "0"}, false},
		"upper case":    {[]string{"Bearer " + strings.ToUpper(goodKey)}, false},
		"name of it":    {[]string{"Bearer backend"}, false},
		"empty":         {[]string{"Bearer "}, false},
		"no scheme":     {[]string{goodKey}, false},
		"other scheme":  {[]string{"Basic " + goodKey}, false},
		"given twice":   {[]string{"Bearer " + goodKey, "Bearer " + goodKey}, false},
		"two spaces":    {[]string{"Bearer  " + goodKey}, false},
		"in one header": {[]string{"Bearer " + goodKey + ", Bearer " + goodKey}, false},
	}
	refused := make(map[string]bool) // the texts
	seen := make(map[string]bool)
	for _, service := range services(withKey(within(t), goodKey), t, f.conn) {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			t.Fatal(err)
		}
		methods := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			path := "/" + service + "/" + string(methods.Get(i).Name())
			open, ok := openMethods[path]
			if !ok {
				t.Errorf("%s has no row in this test", path)
			}
			seen[path] = true
			for name, c := range credentials {
				ctx := withHeaders(within(t), "authorization", c.headers...)
				before := r.calls()
				err := try(ctx, f.conn, path)
				if got := status.Code(err) != codes.Unauthenticated; got != (open || c.good) {
					t.Errorf("%s with %s: %v", path, name, err)
				}
				if !open && !c.good {
					checkRefusal(t, err, told{code: codes.Unauthenticated, reason: "UNAUTHENTICATED"})
					refused[status.Convert(err).Message()] = true
					if r.calls() != before {
						t.Errorf("%s with %s reached the router", path, name)
					}
				}
			}
		}
	}
	for path := range openMethods {
		if !seen[path] {
			t.Errorf("%s does not exist", path)
		}
	}
	if len(refused) != 1 {
		t.Errorf("the texts tell the causes apart: %v", refused)
	}
}

func TestReflection(t *testing.T) {
	f := start(t, control.Options{}, &router{})
	got := services(within(t), t, f.conn)
	for _, want := range []string{
		"pushd.v1.ControlService", "pushd.v1.AdminService", "grpc.health.v1.Health",
		"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing in %v", want, got)
		}
	}
}

// Paths that look like a method but are none never reach it.
func TestPaths(t *testing.T) {
	r := &router{}
	closed := start(t, control.Options{Keys: mustKeys(t, goodKey)}, r)
	open := start(t, control.Options{}, r)
	for name, path := range map[string]string{
		"unknown service":    "/pushd.v1.OtherService/Drain",
		"unknown method":     "/pushd.v1.ControlService/Nothing",
		"health's method":    "/grpc.health.v1.Health/Stats",
		"double slash":       "//pushd.v1.ControlService/Stats",
		"slash at the end":   "/pushd.v1.ControlService/Stats/",
		"two slashes within": "/pushd.v1.ControlService//Stats",
		"upper case":         "/PUSHD.V1.CONTROLSERVICE/STATS",
		"escaped slash":      "/pushd.v1.ControlService%2FStats",
		"by way of health":   "/grpc.health.v1.Health/../pushd.v1.ControlService/Stats",
		"query":              "/pushd.v1.ControlService/Stats?x=1",
	} {
		t.Run(name, func(t *testing.T) {
			err := try(withKey(within(t), goodKey), closed.conn, path)
			if status.Code(err) != codes.Unimplemented {
				t.Errorf("with a key: %v", err)
			}
			if err := try(within(t), open.conn, path); status.Code(err) != codes.Unimplemented {
				t.Errorf("open: %v", err)
			}
			if err := try(within(t), closed.conn, path); status.Code(err) != codes.Unauthenticated && strings.Count(path, "/") > 1 {
				t.Errorf("without a key: %v", err)
			}
		})
	}
	err := try(within(t), open.conn, "/pushd.v1.OtherService/Drain")
	checkRefusal(t, err, told{code: codes.Unimplemented, reason: "NOT_AVAILABLE"})
	if r.calls() != 0 {
		t.Error("a path reached the router")
	}
}

// Without a key nothing of a request is read: the refusal comes before it is
// sent.
func TestRefusedBeforeRead(t *testing.T) {
	f := start(t, control.Options{Keys: mustKeys(t, goodKey)}, &router{})
	stream, err := f.conn.NewStream(within(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		pushdv1.ControlService_NotifyUser_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.RecvMsg(&emptypb.Empty{})
	checkRefusal(t, err, told{code: codes.Unauthenticated, reason: "UNAUTHENTICATED"})
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]control.Options{
		"no keys in the list": {Keys: control.Keys{}},
		"negative payload":    {MaxPayload: -1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := control.NewServer(o, &router{}); err == nil {
				t.Error("accepted")
			}
		})
	}
}
