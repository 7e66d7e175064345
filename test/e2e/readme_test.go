package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
	"github.com/aegisx/pushd/test/harness"
)

const (
	// readmePatience bounds all of the README: it compiles pushd twice, and two
	// tools.
	readmePatience = 10 * time.Minute
	// blockPatience bounds the commands of one block.
	blockPatience = 4 * time.Minute
)

// readmePorts are those that the README uses, on 127.0.0.1.
var readmePorts = []string{
	"8080", "8081", "8082", "9090", "9091", "9190", "9191", "9290", "9291", "6221", "6222", "6223", "4222", "8222",
}

// TestReadme does what the README says, in its order and in a copy of the
// repository. Each section of it is one: blocks that start a node run until the
// section ends, all others must succeed.
//
//   - sh blocks are run by a shell. Those that begin with "pushd serve" or
//     "make run" are the nodes.
//   - js blocks are run by Node and by Chromium, with a token in scope.
//   - go blocks are programs.
//
// A block under <!-- not run: REASON --> is left out.
func TestReadme(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), readmePatience)
	t.Cleanup(cancel)
	text, err := os.ReadFile(filepath.Join(suite.root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections, err := parseReadme(string(text))
	if err != nil {
		t.Fatal(err)
	}
	checkPortsFree(ctx, t)
	r := newReader(t)
	for _, s := range sections {
		// One section makes what the next ones use.
		if !t.Run(s.title, func(t *testing.T) { r.follow(ctx, t, s) }) {
			return
		}
	}
}

func TestReadmeIsTested(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(suite.root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections, err := parseReadme(string(text))
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	for _, s := range sections {
		for _, b := range s.blocks {
			kinds[b.kind]++
		}
	}
	if kinds["sh"] < 5 || kinds["js"] < 1 || kinds["go"] < 1 {
		t.Errorf("blocks to run: %v", kinds)
	}
}

// checkPortsFree waits for them: another run of this test may have them.
func checkPortsFree(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var lc net.ListenConfig
	err := harness.Eventually(ctx, func(ctx context.Context) error {
		for _, port := range readmePorts {
			l, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+port)
			if err == nil {
				err = l.Close()
			}
			if err != nil {
				return fmt.Errorf("port %s: %w", port, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("the README uses ports of 127.0.0.1, which must be free for this test: %v", err)
	}
}

// section is what stands under one heading.
type section struct {
	title  string
	blocks []block
}

// block is a fenced block that is to be run.
type block struct {
	kind string // sh, js or go
	text string
	line int
}

func (b block) isNode() bool {
	return b.kind == "sh" && (strings.HasPrefix(b.text, "pushd serve") || strings.HasPrefix(b.text, "make run"))
}

var notRun = regexp.MustCompile(`^<!-- not run: \S.* -->$`)

// parseReadme returns the sections that have something to run. A block of a
// language that looks like commands but is none of ours is an error, so that
// none is left out by a slip.
func parseReadme(text string) ([]section, error) {
	var sections []section
	current := section{title: "top"}
	var open *block
	skip := false
	for i, line := range strings.Split(text, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open != nil:
			if open.kind != "" && !skip {
				current.blocks = append(current.blocks, *open)
			}
			open, skip = nil, false
		case isFence:
			switch fence {
			case "sh", "js", "go", "":
				open = &block{kind: fence, line: i + 1}
			case "json", "yaml", "protobuf":
				open = &block{line: i + 1}
			default:
				return nil, fmt.Errorf("line %d: blocks of %q are not tested", i+1, fence)
			}
		case open != nil:
			open.text += line + "\n"
		case notRun.MatchString(line):
			skip = true
		case strings.HasPrefix(line, "## "):
			sections = append(sections, current)
			current = section{title: strings.TrimPrefix(line, "## ")}
		case line != "":
			skip = false
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.line)
	}
	return append(sections, current), nil
}

// reader follows the README in a copy of the repository.
type reader struct {
	dir  string // the copy
	logs string // of the nodes
	env  []string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{dir: filepath.Join(t.TempDir(), "pushd"), logs: nodeDir(t)}
	if err := copyRepository(suite.root, r.dir); err != nil {
		t.Fatal(err)
	}
	r.env = append(harness.Environment(), "PATH="+filepath.Join(r.dir, "bin")+":"+os.Getenv("PATH"))
	t.Cleanup(func() { killLeftovers(t, r.dir) })
	return r
}

// copyRepository copies the sources, without what was made from them.
func copyRepository(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch d.Name() {
		case ".git", "bin", "dist", "node_modules", "demo-data", "pushd-data":
			if !d.IsDir() {
				return nil // In a worktree .git is a file: skipping the folder would skip all.
			}
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, info.Mode().Perm())
	})
}

// killLeftovers ends the processes whose program was built in dir: those that
// commands of the README left behind when one failed.
func killLeftovers(t *testing.T, dir string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Error(err)
	}
	for _, link := range links {
		path, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(path, dir+"/") {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(link, "/proc/%d/exe", &pid); err != nil || pid <= 1 {
			continue
		}
		t.Logf("%s was left running", path)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
}

// follow runs the blocks of one section and then stops its nodes, as a person
// would with Ctrl-C.
func (r *reader) follow(ctx context.Context, t *testing.T, s section) {
	t.Helper()
	var nodes []*harness.Node
	var after []func()
	for i, b := range s.blocks {
		switch {
		case b.isNode() && i > 0 && s.blocks[i-1].isNode(): // started with the one before
		case b.isNode():
			nodes = append(nodes, r.startNodes(ctx, t, s.blocks[i:])...)
			if len(nodes) > 1 {
				r.awaitCluster(ctx, t, len(nodes))
			}
		case b.kind == "sh":
			r.runShell(ctx, t, b)
		case b.kind == "go":
			r.runGo(ctx, t, b)
		case b.kind == "js":
			after = append(after, r.runJS(ctx, t, b)...)
		}
	}
	for _, n := range nodes {
		r.interrupt(ctx, t, n)
	}
	for _, finish := range after {
		finish()
	}
}

func (r *reader) command(ctx context.Context, shell string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-euc", shell)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

func (r *reader) runShell(ctx context.Context, t *testing.T, b block) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, blockPatience)
	defer cancel()
	cmd := r.command(ctx, b.text)
	cmd.WaitDelay = 30 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("README line %d: %v\n%s\n%s", b.line, err, b.text, out)
	}
}

var httpAddr = regexp.MustCompile(`--http-addr (\S+)`)

// startNodes starts the nodes that blocks begin with, which may wait for one
// another, and waits until all are ready.
func (r *reader) startNodes(ctx context.Context, t *testing.T, blocks []block) []*harness.Node {
	t.Helper()
	var nodes []*harness.Node
	for _, b := range blocks {
		if !b.isNode() {
			break
		}
		nodes = append(nodes, r.startNode(ctx, t, b))
	}
	for i, n := range nodes {
		r.awaitReady(ctx, t, blocks[i], n)
	}
	return nodes
}

// startNode runs a block in a process group of its own, as a terminal does.
func (r *reader) startNode(ctx context.Context, t *testing.T, b block) *harness.Node {
	t.Helper()
	cmd := r.command(context.WithoutCancel(ctx), "exec "+b.text) // It is ended in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	n, err := harness.StartCommand(cmd, r.logs, fmt.Sprintf("line-%d", b.line))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Kill(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (r *reader) awaitReady(ctx context.Context, t *testing.T, b block, n *harness.Node) {
	t.Helper()
	addr := "127.0.0.1:8080"
	if m := httpAddr.FindStringSubmatch(b.text); m != nil {
		addr = m[1]
	}
	ended := make(chan struct{})
	go func() {
		_, _ = n.Wait(ctx)
		close(ended)
	}()
	err := harness.Eventually(ctx, func(ctx context.Context) error {
		select {
		case <-ended:
			return harness.Permanent(errors.New("it has ended"))
		default:
		}
		status, body, err := harness.Fetch(ctx, "http://"+addr+"/readyz")
		if err == nil && status != http.StatusOK {
			err = errors.New(body)
		}
		return err
	})
	if err != nil {
		t.Fatalf("README line %d: %v\n%s\n%s", b.line, err, b.text, n.Log())
	}
}

// awaitCluster waits until the first node knows all that were started, and all
// have their history. People type more slowly than this test.
func (r *reader) awaitCluster(ctx context.Context, t *testing.T, size int) {
	t.Helper()
	client, conn, err := harness.Control("127.0.0.1:9090")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	awaitStats(ctx, t, client, func(s *pushdv1.StatsResponse) error {
		if len(s.GetNodes()) != size || !s.GetComplete() {
			return errors.New("not all nodes have met")
		}
		return nil
	})
	for _, addr := range []string{"127.0.0.1:9090", "127.0.0.1:9190", "127.0.0.1:9290"}[:size] {
		awaitHistory(ctx, t, addr)
	}
}

func awaitHistory(ctx context.Context, t *testing.T, addr string) {
	t.Helper()
	_, conn, err := harness.Control(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = harness.Eventually(ctx, func(ctx context.Context) error {
		_, err := pushdv1.NewAdminServiceClient(conn).GetHistory(ctx, &pushdv1.GetHistoryRequest{TenantId: "acme", UserId: "ann"})
		return err
	})
	if err != nil {
		t.Fatalf("no history at %s: %v", addr, err)
	}
}

// interrupt does what Ctrl-C does: every process of the group gets SIGINT.
func (r *reader) interrupt(ctx context.Context, t *testing.T, n *harness.Node) {
	t.Helper()
	if err := syscall.Kill(-n.PID, syscall.SIGINT); err != nil {
		t.Error(err)
	}
	code, err := n.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// make itself dies of the signal.
	if !strings.Contains(n.Log(), "draining") || code > 0 && code != 2 {
		t.Errorf("exit code %d\n%s", code, n.Log())
	}
}

// runGo runs a program in a module of its own, which takes its dependencies
// from ours.
func (r *reader) runGo(ctx context.Context, t *testing.T, b block) {
	t.Helper()
	dir := t.TempDir()
	mod, err := os.ReadFile(filepath.Join(r.dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(r.dir, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(mod), "module github.com/aegisx/pushd", "module example.com/backend", 1) +
		"\nrequire github.com/aegisx/pushd v0.0.0\n\nreplace github.com/aegisx/pushd => " + r.dir + "\n"
	for name, text := range map[string]string{"go.mod": own, "go.sum": string(sums), "main.go": b.text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, blockPatience)
	defer cancel()
	cmd := r.command(ctx, "exec go run -mod=mod .")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(`^accepted [0-9A-Z]{26}\n$`).Match(out) {
		t.Errorf("README line %d: %v\n%s", b.line, err, out)
	}
}

// runJS runs a script in Node and in Chromium, where they are installed. It
// must say hi to the general channel of acme. The returned functions check that
// the script ended well once its server has asked it to leave.
func (r *reader) runJS(ctx context.Context, t *testing.T, b block) (finish []func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	t.Cleanup(cancel)
	token := strings.TrimSpace(r.read(t, "demo-data/token.txt"))
	key := strings.TrimSpace(r.read(t, "demo-data/secret.txt"))
	suite.secrets.add(token)
	suite.secrets.add(key)
	listener, err := harness.Sign(key, claims{"tenantId": "acme", "userId": "bob"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := harness.Dial(ctx, "ws://127.0.0.1:8080/ws", listener, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	join(ctx, t, s, "tenant:acme:general")
	options := map[string]string{"code": "const token = '" + token + "';\n" + b.text, "page": servePages(t) + "/guide.html"}
	node, err := findNode()
	if err != nil && mayMiss(t, "PUSHD_REQUIRE_NODE", err) {
		return nil
	}
	finish = append(finish, followSnippet(ctx, t, s, node, "snippet-node.mjs", options))
	chromium, err := findChromium()
	if err != nil && mayMiss(t, "PUSHD_REQUIRE_BROWSER", err) {
		return finish
	}
	options["chromium"] = chromium
	return append(finish, followSnippet(ctx, t, s, node, "snippet-browser.mjs", options))
}

func (r *reader) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func followSnippet(
	ctx context.Context, t *testing.T, listener *harness.Socket, node, program string, options map[string]string,
) (finish func()) {
	t.Helper()
	running := startScript(ctx, t, node, program, options)
	var log struct{ Text string }
	for _, want := range []string{"connection ", "channel_joined "} {
		running.expect(t, "log", &log)
		if !strings.HasPrefix(log.Text, want) {
			t.Errorf("logged %q, not %q", log.Text, want)
		}
	}
	m, err := listener.Expect(ctx, "channel_message")
	if err != nil || !strings.Contains(m.Text, `"message":{"text":"hi"}`) {
		t.Errorf("the listener got %s, %v", m.Text, err)
	}
	// One that leaves to come back must be back before its server goes.
	for back := !strings.Contains(options["code"], "socket.close("); !back; {
		running.expect(t, "log", &log)
		back = strings.HasPrefix(log.Text, "channel_joined ")
	}
	return func() {
		for running.lines.Scan() && !strings.Contains(running.lines.Text(), "closed 4000 drain") {
		}
		running.finish(t)
	}
}
