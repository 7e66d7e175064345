package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// Subdirectories by mode: a server of a mesh deletes the streams of a lone
	// one, because it does not know them.
	loneDir = "lone"
	meshDir = "mesh"
	// lockFile is locked while a process uses the directory.
	lockFile = "lock"
	// ownerFile holds the name of the node that a store belongs to: the servers
	// of a mesh know one another's stores by it.
	ownerFile = "node"
	// ownerOnly are the permissions of all that is made here.
	ownerOnly = 0o700
)

// storeDir is where this process, and no other, keeps a history.
type storeDir struct {
	path string // of the mode's subdirectory
	lock *os.File
}

// openStoreDir makes and locks the directory. The caller closes it, after the
// server that uses it.
func openStoreDir(o Options) (*storeDir, error) {
	root := o.History.StoreDir
	if err := os.MkdirAll(root, ownerOnly); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockDir(filepath.Join(root, lockFile))
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", root, err)
	}
	d := &storeDir{lock: lock}
	if err := d.prepare(o); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// prepare makes the mode's subdirectory and refuses a directory that is not for
// this node.
func (d *storeDir) prepare(o Options) error {
	root := o.History.StoreDir
	mode, other, text := loneDir, meshDir, "a mesh, which a lone node can't read"
	if o.mesh() {
		mode, other, text = meshDir, loneDir, "a lone node, which a node of a mesh can't read"
	}
	d.path = filepath.Join(root, mode)
	old := filepath.Join(root, other)
	switch used, err := holdsFiles(old); {
	case err != nil:
		return fmt.Errorf("data directory: %w", err)
	case used:
		return fmt.Errorf("data directory %s holds the history of %s: use another data directory, or remove %s and with it that history",
			root, text, old)
	}
	if err := os.MkdirAll(d.path, ownerOnly); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := os.Chmod(d.path, ownerOnly); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if o.mesh() {
		if err := d.claim(o.NodeName); err != nil {
			return err
		}
	}
	return d.checkRoom(o.History.maxBytes())
}

// holdsFiles reports whether there is any file in a directory, at any depth. One
// that does not exist holds none.
func holdsFiles(dir string) (found bool, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		found = true
		return fs.SkipAll
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return found, err
}

// claim notes whose store it is, or refuses that of another node.
func (d *storeDir) claim(node string) error {
	path := filepath.Join(d.path, ownerFile)
	owner, err := os.ReadFile(path) //nolint:gosec // The operator names the directory.
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.WriteFile(path, []byte(node+"\n"), 0o600); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("data directory: %w", err)
	case strings.TrimSpace(string(owner)) != node:
		return fmt.Errorf("data directory %s belongs to the node %q, not to %q: give the node that name, or use another data directory",
			d.path, strings.TrimSpace(string(owner)), node)
	default:
		return nil
	}
}

// checkRoom refuses a history that the disk has no room for. What the history
// takes already counts as room.
func (d *storeDir) checkRoom(want int64) error {
	free, ok := freeBytes(d.path)
	if !ok {
		return nil
	}
	var used int64
	err := filepath.WalkDir(d.path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := e.Info(); err == nil && !e.IsDir() {
			used += info.Size()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if room := free + used; room < want {
		return fmt.Errorf("the history may take %d bytes, but the disk of %s has room for %d: let it take less, or use another data directory",
			want, d.path, room)
	}
	return nil
}

// fresh reports whether no server of a mesh has run here before.
func (d *storeDir) fresh() bool {
	used, err := holdsFiles(filepath.Join(d.path, server.JetStreamStoreDir))
	return err == nil && !used
}

func (d *storeDir) close() { _ = d.lock.Close() }

// errInUse answers a try to lock what is locked.
var errInUse = errors.New("another process uses it")
