package cluster

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// natsLog lets the embedded server log through slog. Traces and debug lines
// are left out.
type natsLog struct {
	log *slog.Logger
	// fatal gets the first text that the server calls fatal.
	fatal chan string
	// name is the own name; onDuplicate is called when another server that
	// has it meets this one. Servers refuse such a route, so that the nodes
	// can't hear each other.
	name        string
	onDuplicate func()
}

func newNATSLog(log *slog.Logger, name string, onDuplicate func()) *natsLog {
	return &natsLog{
		log:         log.With("component", "nats_server"),
		fatal:       make(chan string, 1),
		name:        name,
		onDuplicate: onDuplicate,
	}
}

// Noticef logs at level debug: the server's notices are about itself.
func (l *natsLog) Noticef(format string, v ...any) {
	l.watch(format, v)
	l.log.Debug("nats server notice", "text", fmt.Sprintf(format, v...))
}

// Warnf logs a warning.
func (l *natsLog) Warnf(format string, v ...any) {
	l.log.Warn("nats server warning", "text", fmt.Sprintf(format, v...))
}

// Errorf logs an error.
func (l *natsLog) Errorf(format string, v ...any) {
	l.watch(format, v)
	l.log.Error("nats server error", "text", fmt.Sprintf(format, v...))
}

// Fatalf logs an error. The server only believes that it stops the process.
func (l *natsLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error("nats server failed", "text", text)
	select {
	case l.fatal <- text:
	default:
	}
}

// Debugf does nothing.
func (l *natsLog) Debugf(string, ...any) {}

// Tracef does nothing.
func (l *natsLog) Tracef(string, ...any) {}

// watch looks for another server with the own name, of which the server tells
// in no other way: the one that is asked for the route refuses it, the one that
// asked sees it closed. Routes to itself are closed before they have a name.
func (l *natsLog) watch(format string, v []any) {
	switch {
	case strings.Contains(format, "has a duplicate name") && slices.Contains(v, any(l.name)):
		l.onDuplicate()
	case strings.Contains(format, "connection closed"):
		for _, arg := range v {
			tags, _ := arg.(string)
			if slices.Contains(strings.Split(tags, ", "), "Remote: "+l.name) {
				l.onDuplicate()
			}
		}
	}
}
