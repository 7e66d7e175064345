package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pushdv1 "github.com/aegisx/pushd/gen/pushd/v1"
)

// maxComplaints is how many refusals are told in full.
const maxComplaints = 10

// lineStream sends the lines of stdin over one Publish stream.
type lineStream struct {
	// Set once.
	client *client
	stream grpc.BidiStreamingClient[pushdv1.PublishRequest, pushdv1.PublishResponse]
	errOut io.Writer

	// Guarded by mu.
	mu       sync.Mutex
	waiting  []int // numbers of the lines that were sent and not answered
	accepted int
	refused  int
}

// runStream sends until stdin ends, and waits for the answers.
func (f *sendFlags) runStream(cmd *cobra.Command, request compose) error {
	fs := cmd.Flags()
	if err := f.checkStream(fs); err != nil {
		return err
	}
	isRaw := fs.Lookup("type") != nil && f.eventType == ""
	line := func(text string) *pushdv1.PublishRequest {
		r := request(payload{text, isRaw})
		f.delivery.apply(fs, r)
		return r
	}
	return f.client.session(func(conn *grpc.ClientConn) error {
		var receiving sync.WaitGroup
		defer receiving.Wait()
		ctx, cancel := context.WithCancel(cmd.Context())
		defer cancel() // which ends the receiving
		stream, err := pushdv1.NewControlServiceClient(conn).Publish(ctx)
		if err != nil {
			return f.client.explain(err)
		}
		l := &lineStream{client: &f.client, stream: stream, errOut: cmd.ErrOrStderr()}
		answered := make(chan error, 1)
		receiving.Go(func() { answered <- l.receive() })
		readErr := l.sendLines(cmd.InOrStdin(), line)
		err = l.await(answered)
		text, complaint := l.report(f.output)
		if _, printErr := io.WriteString(cmd.OutOrStdout(), text); printErr != nil {
			return fmt.Errorf("print report: %w", printErr)
		}
		if readErr != nil || err != nil {
			return errors.Join(readErr, err)
		}
		return complaint
	})
}

// sendLines sends until r ends or the stream does.
func (l *lineStream) sendLines(r io.Reader, line func(string) *pushdv1.PublishRequest) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxStdin)
	number := 0
	for lines.Scan() {
		number++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		l.mu.Lock()
		l.waiting = append(l.waiting, number)
		l.mu.Unlock()
		if err := l.stream.Send(line(string(text))); err != nil {
			return nil //nolint:nilerr // It only says that the stream has ended; receive knows why.
		}
	}
	if err := l.stream.CloseSend(); err != nil {
		return fmt.Errorf("end the stream: %w", err)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read line %d of stdin: %w", number+1, err)
	}
	return nil
}

// receive takes the answers until the stream ends.
func (l *lineStream) receive() error {
	for {
		answer, err := l.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.take(answer); err != nil {
			return err
		}
	}
}

// take counts one answer, and tells the first refusals.
func (l *lineStream) take(answer *pushdv1.PublishResponse) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return errors.New("an answer came to nothing")
	}
	number := l.waiting[0]
	l.waiting = l.waiting[1:]
	r := answer.GetRefused()
	if r == nil {
		l.accepted++
		return nil
	}
	l.refused++
	var text string
	switch {
	case l.refused <= maxComplaints:
		st := status.FromProto(&rpcstatus.Status{Code: r.GetCode(), Message: r.GetMessage(), Details: r.GetDetails()})
		text = fmt.Sprintf("line %d: %s\n", number, l.client.explain(st.Err()))
	case l.refused == maxComplaints+1:
		text = "more refusals are only counted\n"
	}
	if _, err := io.WriteString(l.errOut, text); err != nil {
		return fmt.Errorf("print refusal: %w", err)
	}
	return nil
}

// await waits for the last answer, for each no longer than the timeout.
func (l *lineStream) await(answered <-chan error) error {
	timer := time.NewTimer(l.client.Timeout)
	defer timer.Stop()
	for last := l.answers(); ; {
		select {
		case err := <-answered:
			if err != nil {
				return l.client.explain(err)
			}
			return nil
		case <-timer.C:
		}
		now := l.answers()
		if now == last {
			return fmt.Errorf("no answer within %s; a longer wait is given by --timeout", l.client.Timeout)
		}
		last = now
		timer.Reset(l.client.Timeout)
	}
}

func (l *lineStream) answers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted + l.refused
}

// report says how many messages there were. The complaint is nil when all were
// accepted.
func (l *lineStream) report(o outputFormat) (text string, complaint error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	unanswered := len(l.waiting)
	if l.refused+unanswered > 0 {
		complaint = errors.New("not all messages were accepted")
	}
	if o == outputJSON {
		return fmt.Sprintf(`{"accepted":%d,"refused":%d,"unanswered":%d}`+"\n", l.accepted, l.refused, unanswered), complaint
	}
	text = fmt.Sprintf("accepted %d of %d messages", l.accepted, l.accepted+l.refused+unanswered)
	if l.refused > 0 {
		text += fmt.Sprintf(", refused %d", l.refused)
	}
	if unanswered > 0 {
		text += fmt.Sprintf(", no answer to %d, which may have been delivered", unanswered)
	}
	return text + "\n", complaint
}

func (f *sendFlags) checkStream(fs *pflag.FlagSet) error {
	for _, name := range []string{"json", "data", "raw", "idempotency-key", "receipt"} {
		if !fs.Changed(name) {
			continue
		}
		switch name {
		case "idempotency-key":
			return usagef("--stream excludes --idempotency-key: all messages would have the same")
		case "receipt":
			return usagef("--stream excludes --receipt: it reports numbers only")
		default:
			return usagef("--stream excludes --%s: the payloads come from stdin", name)
		}
	}
	if f.client.Timeout <= 0 {
		return usagef("--timeout must be positive, not %s", f.client.Timeout)
	}
	return nil
}
