package e2e_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

// buildGrpcurl compiles grpcurl once, for the first test that needs it.
var buildGrpcurl = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
	defer cancel()
	return harness.BuildTool(ctx, suite.root, filepath.Join(suite.dir, "tools"), "github.com/fullstorydev/grpcurl/cmd/grpcurl")
})

func grpcurl(t *testing.T) string {
	t.Helper()
	path, err := buildGrpcurl()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// callWith runs grpcurl against the node, without any .proto file.
func callWith(ctx context.Context, t *testing.T, n *harness.Node, data string, args ...string) string {
	t.Helper()
	command := []string{"-plaintext"}
	if data != "" {
		command = append(command, "-d", data)
	}
	command = append(append(command, n.GRPC), args...)
	out, err := exec.CommandContext(ctx, grpcurl(t), command...).CombinedOutput()
	if err != nil {
		t.Fatalf("grpcurl %s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

func TestGrpcurlNeedsNoProtoFiles(t *testing.T) {
	grpcurl(t)
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	services := strings.Fields(callWith(ctx, t, n, "", "list"))
	for _, want := range []string{"pushd.v1.ControlService", "pushd.v1.AdminService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		found := false
		for _, s := range services {
			found = found || s == want
		}
		if !found {
			t.Errorf("%s is not listed: %v", want, services)
		}
	}
	methods := strings.Fields(callWith(ctx, t, n, "", "list", "pushd.v1.ControlService"))
	if len(methods) != 6 {
		t.Errorf("methods %v", methods)
	}
	methods = strings.Fields(callWith(ctx, t, n, "", "list", "pushd.v1.AdminService"))
	if len(methods) != 1 {
		t.Errorf("methods of operators %v", methods)
	}
	if text := callWith(ctx, t, n, "", "describe", "pushd.v1.NotifyUserRequest"); !strings.Contains(text, "notification_type") {
		t.Errorf("describe: %s", text)
	}
	if text := callWith(ctx, t, n, "", "grpc.health.v1.Health/Check"); !strings.Contains(text, `"SERVING"`) {
		t.Errorf("health: %s", text)
	}
}

func TestGrpcurlMakesEveryCall(t *testing.T) {
	grpcurl(t)
	ctx := bounded(t)
	n := startNode(ctx, t, "solo")
	ann := connect(ctx, t, n, "acme", "ann")
	bob := connect(ctx, t, n, "acme", "bob")
	eve := connect(ctx, t, n, "globex", "eve")
	join(ctx, t, ann, "tenant:acme:general", "public:news")
	join(ctx, t, bob, "tenant:acme:general")

	for _, call := range []struct{ method, data, mark string }{
		{"NotifyUser", `{"tenant_id":"acme","user_id":"ann","data":{"mark":"one"}}`, "one"},
		{"SendChannel", `{"channel":"tenant:acme:general","event_type":"news","json":"{\"mark\":\"two\"}"}`, "two"},
		{"BroadcastTenant", `{"tenant_id":"acme","event_type":"news","data":{"mark":"three"}}`, "three"},
		{"BroadcastAll", `{"raw":"{\"type\":\"news\",\"data\":{\"mark\":\"four\"}}"}`, "four"},
	} {
		answer := callWith(ctx, t, n, call.data, "pushd.v1.ControlService/"+call.method)
		if !strings.Contains(answer, `"messageId"`) {
			t.Errorf("%s answered %s", call.method, answer)
		}
	}
	for _, r := range []struct {
		name   string
		socket *harness.Socket
		marks  []string
	}{
		{"ann", ann, []string{"one", "two", "three", "four"}},
		{"bob", bob, []string{"two", "three", "four"}},
		{"eve", eve, []string{"four"}},
	} {
		if err := awaitMarks(ctx, r.socket, r.marks...); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		checkQuiet(ctx, t, r.socket)
	}
	checkStatsByGrpcurl(ctx, t, n)
}

// checkStatsByGrpcurl compares Stats with the connections of
// TestGrpcurlMakesEveryCall.
func checkStatsByGrpcurl(ctx context.Context, t *testing.T, n *harness.Node) {
	t.Helper()
	var got pushdv1.StatsResponse
	if err := protojson.Unmarshal([]byte(callWith(ctx, t, n, `{"fresh":true}`, "pushd.v1.ControlService/Stats")), &got); err != nil {
		t.Fatal(err)
	}
	totals := got.GetTotals()
	if !got.GetComplete() || totals.GetConnections() != 3 || totals.GetUsers() != 3 || totals.GetTenants() != 2 || totals.GetChannels() != 2 {
		t.Errorf("complete %v, totals %v", got.GetComplete(), totals)
	}
	tenants := map[string]uint64{}
	for _, row := range got.GetTenants() {
		tenants[row.GetTenantId()] = row.GetConnections()
	}
	if len(tenants) != 2 || tenants["acme"] != 2 || tenants["globex"] != 1 {
		t.Errorf("tenants %v", got.GetTenants())
	}
	channels := map[string]uint64{}
	for _, row := range got.GetChannels() {
		channels[row.GetTenantId()+" "+row.GetChannel()] = row.GetConnections()
	}
	if len(channels) != 2 || channels["acme tenant:acme:general"] != 2 || channels[" public:news"] != 1 {
		t.Errorf("channels %v", got.GetChannels())
	}
}
