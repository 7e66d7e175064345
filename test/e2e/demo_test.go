package e2e_test

import (
	"bytes"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aegisx/pushd/test/harness"
)

// minScreenshot is the least number of pixels of the page's picture.
const minScreenshot = 1280 * 500

func TestDemoPage(t *testing.T) {
	node, chromium := requireBrowser(t)
	grpcurlDir := filepath.Dir(grpcurl(t))
	ctx := bounded(t)
	n := startBare(ctx, t, "solo", "--dev")
	screenshot := filepath.Join(t.TempDir(), "demo.png")
	const tenant = "acme-o'hara"
	s := startScript(ctx, t, node, "demo-browser.mjs", map[string]string{
		"chromium": chromium, "url": "http://" + n.HTTP + "/demo/", "tenant": tenant, "screenshot": screenshot,
	})
	var connected struct{ Ann, Bob, BobURL string }
	s.expect(t, "connected", &connected)
	if connected.Ann != "connected as ann of "+tenant || connected.Bob != "connected as bob of "+tenant {
		t.Errorf("status %+v", connected)
	}
	s.expect(t, "chatted", &struct{}{})
	for range 8 { // four targets by two tools
		var command struct{ Target, Tool, Line string }
		s.expect(t, "command", &command)
		if !strings.HasPrefix(command.Line, command.Tool+" ") {
			t.Errorf("the line to copy for %s is %q", command.Tool, command.Line)
		}
		shell := exec.CommandContext(ctx, "sh", "-c", command.Line)
		shell.Env = append(harness.Environment(), "PATH="+suite.dir+":"+grpcurlDir+":"+os.Getenv("PATH"))
		if out, err := shell.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command.Line, err, out)
		}
	}
	var done struct {
		Faults     []string
		NotesOfBob int
	}
	s.expect(t, "done", &done)
	for _, fault := range done.Faults {
		t.Errorf("the browser says: %s", fault)
	}
	if done.NotesOfBob != 0 {
		t.Errorf("bob saw %d notifications of ann", done.NotesOfBob)
	}
	s.finish(t)
	checkScreenshot(t, screenshot)
}

// checkScreenshot looks whether there is a picture of anything.
func checkScreenshot(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	size := picture.Bounds()
	if size.Dx()*size.Dy() < minScreenshot {
		t.Errorf("the picture has %v pixels", size)
	}
	first, differs := picture.At(0, 0), false
	for x := size.Min.X; x < size.Max.X && !differs; x++ {
		for y := size.Min.Y; y < size.Max.Y && !differs; y++ {
			differs = picture.At(x, y) != first
		}
	}
	if !differs {
		t.Error("the picture is of one colour")
	}
}
