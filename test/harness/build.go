package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Root returns the top folder of the module, found from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("module root: %w", err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("module root: no go.mod above the working directory")
		}
		dir = parent
	}
}

// Build compiles cmd/pushd of the module at root into dir and returns the path
// of the binary. flags go to "go build".
func Build(ctx context.Context, root, dir string, flags ...string) (string, error) {
	path := filepath.Join(dir, "pushd")
	args := append([]string{"build", "-o", path}, flags...)
	return path, run(ctx, root, append(args, "./cmd/pushd"))
}

// BuildTool compiles a tool that tools/go.mod pins into dir and returns the
// path of the binary.
func BuildTool(ctx context.Context, root, dir, pkg string) (string, error) {
	path := filepath.Join(dir, filepath.Base(pkg))
	return path, run(ctx, root, []string{"build", "-modfile=tools/go.mod", "-o", path, pkg})
}

func run(ctx context.Context, dir string, args []string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(runtime.GOROOT(), "bin", "go"), args...) //nolint:gosec,staticcheck // The arguments are the harness's own; GOROOT is that of the test's own toolchain.
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
