package bench

// Process is the process of a server, by its id. The zero value is a process
// that is not known, as one on another machine: it costs 0.
type Process struct{ PID int }

// known reports whether there is something to ask.
func (p Process) known() bool { return p.PID > 0 }
