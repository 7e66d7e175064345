package demo_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// inputs is what commands.js takes.
type inputs struct {
	Target       string `json:"target"`
	Tenant       string `json:"tenant"`
	User         string `json:"user"`
	Channel      string `json:"channel"`
	EventType    string `json:"eventType"`
	Text         string `json:"text"`
	GRPCAddr     string `json:"grpcAddr"`
	GRPCNeedsKey bool   `json:"grpcNeedsKey"`
}

// commandLines asks commands.js, and a shell for the words of its answers.
func commandLines(t *testing.T, in inputs) (pushd, grpcurl []string) {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	script := asset(t, "commands.js") + `
const o = JSON.parse(process.argv[1]);
process.stdout.write(pushdLine(o) + '\0' + grpcurlLine(o));`
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the commands of the demo page are not tested")
	}
	out, err := exec.CommandContext(t.Context(), node, "--input-type=module", "-e", script, "--", string(text)).Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	first, second, _ := strings.Cut(string(out), "\x00")
	return shellWords(t, first), shellWords(t, second)
}

func shellWords(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `show() { printf '%s\0' "$@"; }; show `+line).Output()
	if err != nil {
		t.Fatalf("sh: %v: %s", err, line)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestCommands(t *testing.T) {
	usual := inputs{
		Target: "user", Tenant: "acme", User: "ann", Channel: "tenant:acme:general",
		EventType: "announcement", Text: "hello", GRPCAddr: "127.0.0.1:9090",
	}
	with := func(change func(*inputs)) inputs {
		in := usual
		change(&in)
		return in
	}
	nasty := `it's; $(touch /tmp/x) "\ ` + "`id`"
	nastyJSON, _ := json.Marshal(map[string]string{"text": nasty})
	for name, c := range map[string]struct {
		in      inputs
		pushd   []string
		grpcurl []string // what follows -plaintext
	}{
		"user": {
			usual,
			[]string{"pushd", "send", "user", "acme", "ann", "--json", `{"text":"hello"}`},
			[]string{"-d", `{"tenant_id":"acme","user_id":"ann","data":{"text":"hello"}}`, "127.0.0.1:9090", "pushd.v1.ControlService/NotifyUser"},
		},
		"channel": {
			with(func(i *inputs) { i.Target = "channel" }),
			[]string{"pushd", "send", "channel", "tenant:acme:general", "--type", "announcement", "--json", `{"text":"hello"}`},
			[]string{"-d", `{"channel":"tenant:acme:general","event_type":"announcement","data":{"text":"hello"}}`, "127.0.0.1:9090", "pushd.v1.ControlService/SendChannel"},
		},
		"own channel": {
			with(func(i *inputs) { i.Target, i.Channel = "channel", "orders" }),
			[]string{"pushd", "send", "channel", "orders", "--type", "announcement", "--tenant", "acme", "--json", `{"text":"hello"}`},
			[]string{"-d", `{"channel":"orders","tenant_id":"acme","event_type":"announcement","data":{"text":"hello"}}`, "127.0.0.1:9090", "pushd.v1.ControlService/SendChannel"},
		},
		"tenant elsewhere": {
			with(func(i *inputs) { i.Target, i.GRPCAddr, i.GRPCNeedsKey = "tenant", "127.0.0.1:1", true }),
			[]string{"pushd", "send", "tenant", "acme", "--type", "announcement", "--json", `{"text":"hello"}`, "--server", "127.0.0.1:1", "--key-file", "KEY_FILE"},
			[]string{"-H", "authorization: Bearer KEY", "-d", `{"tenant_id":"acme","event_type":"announcement","data":{"text":"hello"}}`, "127.0.0.1:1", "pushd.v1.ControlService/BroadcastTenant"},
		},
		"all": {
			with(func(i *inputs) { i.Target = "all" }),
			[]string{"pushd", "send", "all", "--type", "announcement", "--json", `{"text":"hello"}`},
			[]string{"-d", `{"event_type":"announcement","data":{"text":"hello"}}`, "127.0.0.1:9090", "pushd.v1.ControlService/BroadcastAll"},
		},
		"nasty": {
			with(func(i *inputs) { i.Tenant, i.User, i.Text = "-t", "o'hara", nasty }),
			[]string{"pushd", "send", "user", "--json", string(nastyJSON), "--", "-t", "o'hara"},
			[]string{"-d", `{"tenant_id":"-t","user_id":"o'hara","data":` + string(nastyJSON) + `}`, "127.0.0.1:9090", "pushd.v1.ControlService/NotifyUser"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pushd, grpcurl := commandLines(t, c.in)
			if !slices.Equal(pushd, c.pushd) {
				t.Errorf("pushd\n got %q\nwant %q", pushd, c.pushd)
			}
			if want := append([]string{"grpcurl", "-plaintext"}, c.grpcurl...); !slices.Equal(grpcurl, want) {
				t.Errorf("grpcurl\n got %q\nwant %q", grpcurl, want)
			}
		})
	}
}
