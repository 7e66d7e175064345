//go:build !darwin && !linux

package poll

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// rawSupported says that every socket is served as a stream here.
const rawSupported = false

// rawIO is never made here.
type rawIO struct {
	conn net.Conn
	raw  syscall.RawConn
}

func (*rawIO) read(*sync.Pool, func([]byte)) error { return errors.ErrUnsupported }
func (*rawIO) write([][]byte) (int, error)         { return 0, errors.ErrUnsupported }
func (*rawIO) awaitWritable()                      {}
func (*rawIO) closeWrite() error                   { return errors.ErrUnsupported }
