//go:build !darwin && !linux

package cluster

import "os"

// lockDir opens the file at path. This system has no lock that ends with the
// process, so it is left to the operator that two never share a directory.
func lockDir(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// freeBytes is not known on this system.
func freeBytes(string) (free int64, ok bool) { return 0, false }
