package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/aegisx/pushd/internal/bench"
)

const (
	// floorCommand makes this program the loop.
	floorCommand = "floor"
	// everybody is the target of an order for all connections.
	everybody = 1<<32 - 1
	// orderSize is a target and a stamp, in bytes.
	orderSize = 4 + 32
	// floorStop is how long the loop may take to end.
	floorStop = 5 * time.Second
)

// floorSource is the loop in C.
//
//go:embed floor/floor.c
var floorSource string

// buildFloor compiles the loop to path; without a C compiler the loop is this
// program.
func buildFloor(ctx context.Context, path string) (command []string, kind string, err error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		self, err := os.Executable()
		if err != nil {
			return nil, "", fmt.Errorf("this program: %w", err)
		}
		return []string{self, floorCommand}, "Go (there is no C compiler here: expect it 1.0 to 1.3 times as dear as C)", nil
	}
	cmd := exec.CommandContext(ctx, cc, "-O2", "-o", path, "-x", "c", "-") //nolint:gosec // The system's own compiler.
	cmd.Stdin = strings.NewReader(floorSource)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("compile the floor: %w\n%s", err, out)
	}
	return []string{path}, "C", nil
}

// floor is a running loop, as a server. It takes as many connections as it was
// started for, once.
type floor struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	addr   netip.AddrPort

	mu    sync.Mutex
	order [orderSize]byte
}

// startFloor starts a loop whose frames hold payload bytes of JSON, as pushd's
// do; it writes up to merge of them together.
func startFloor(ctx context.Context, command []string, connections, payload, merge int) (*floor, error) {
	text := `{"type":"bench","data":` + bench.Message{Bytes: payload}.JSON() + `}`
	frame, err := ws.CompileFrame(ws.NewTextFrame([]byte(text)))
	if err != nil {
		return nil, fmt.Errorf("make a frame: %w", err)
	}
	stamp := bytes.Index(frame, []byte(`"data":`)) + len(`"data":`) + bench.StampOffset
	args := slices.Concat(command[1:], []string{
		strconv.Itoa(connections), strconv.Itoa(len(frame)), strconv.Itoa(stamp), strconv.Itoa(merge),
	})
	f := &floor{cmd: exec.CommandContext(ctx, command[0], args...)} //nolint:gosec // The loop was built here.
	f.cmd.Stderr = os.Stderr
	if f.orders, err = f.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the floor: %w", err)
	}
	var port uint16
	if _, err := fmt.Fscanln(out, &port); err != nil {
		return nil, errors.Join(fmt.Errorf("port of the floor: %w", err), f.stop())
	}
	f.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	if _, err := f.orders.Write(frame); err != nil {
		return nil, errors.Join(fmt.Errorf("frame of the floor: %w", err), f.stop())
	}
	return f, nil
}

// stop ends the loop: by the end of its input, or else by force.
func (f *floor) stop() error {
	killer := time.AfterFunc(floorStop, func() { _ = f.cmd.Process.Kill() })
	defer killer.Stop()
	_ = f.orders.Close() // A loop that has ended closed it.
	if err := f.cmd.Wait(); err != nil {
		return fmt.Errorf("stop the floor: %w", err)
	}
	return nil
}

// Client implements bench.Server.
func (f *floor) Client(int) (bench.Client, error) {
	return bench.Client{Addr: f.addr, Ready: []byte(`"ready"`)}, nil
}

// Broadcast implements bench.Server.
func (f *floor) Broadcast(_ context.Context, m bench.Message) error { return f.send(everybody, m) }

// Unicast implements bench.Server.
func (f *floor) Unicast(_ context.Context, i int, m bench.Message) error {
	return f.send(uint32(i), m) //nolint:gosec // Fewer than descriptors.
}

// Process implements bench.Server.
func (f *floor) Process() bench.Process { return bench.Process{PID: f.cmd.Process.Pid} }

func (f *floor) send(target uint32, m bench.Message) error {
	stamp := m.Stamp()
	f.mu.Lock()
	defer f.mu.Unlock()
	binary.LittleEndian.PutUint32(f.order[:], target)
	copy(f.order[4:], stamp[:])
	if _, err := f.orders.Write(f.order[:]); err != nil {
		return fmt.Errorf("order to the floor: %w", err)
	}
	return nil
}
