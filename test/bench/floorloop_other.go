//go:build !linux

package main

import (
	"errors"
	"io"
)

// floorLoop is there on Linux only.
func floorLoop([]string, io.Reader, io.Writer) error {
	return errors.New("without a C compiler the floor needs Linux")
}
