package main

import (
	"io"
	"os"

	"github.com/aegisx/pushd/internal/bench"
)

// display shows progress where a person looks on.
type display struct {
	// terminal is nil where nobody does.
	terminal io.Writer
}

func newDisplay(w io.Writer) *display {
	f, ok := w.(*os.File)
	if !ok {
		return &display{}
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &display{}
	}
	return &display{w}
}

// line returns what shows progress under a title; nil where nobody looks on.
func (d *display) line(title string) func(bench.Progress) {
	if d.terminal == nil {
		return nil
	}
	l := &bench.Line{W: d.terminal, Title: title}
	return l.Show
}

// clear leaves no progress behind.
func (d *display) clear() {
	if d.terminal != nil {
		(&bench.Line{W: d.terminal}).Clear()
	}
}
