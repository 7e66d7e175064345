package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// historyServer keeps what it is sent and replays it.
type historyServer struct {
	*fakeServer
	keepErr error
	// spoil changes what is replayed, from the answer to the join on; nil leaves it.
	spoil func(frames []string) []string

	// Guarded by mu of fakeServer.
	kept     map[int][]Message
	reads    int64
	watching int // joins without a position
}

func startHistoryServer(t *testing.T, spoil func([]string) []string) *historyServer {
	t.Helper()
	s := &historyServer{kept: map[int][]Message{}, spoil: spoil}
	s.fakeServer = startFakeServerFor(t, s.replay)
	return s
}

// replay reads "join CHANNEL OFFSET" and answers.
func (s *historyServer) replay(f *fakeServer, conn net.Conn) {
	if _, err := ws.Upgrade(conn); err != nil {
		return
	}
	got, err := wsutil.ReadClientText(conn)
	if err != nil {
		return
	}
	var channel, after int
	if _, err := fmt.Sscanf(string(got), "join %d %d", &channel, &after); err != nil {
		f.t.Errorf("a client sent %q", got)
	}
	f.mu.Lock()
	frames := []string{`{"type":"ready"}`}
	if after == 0 {
		s.watching++
	} else {
		s.reads++
		for _, m := range s.kept[channel][after:] {
			frames = append(frames, `{"type":"bench","data":`+m.JSON()+`}`)
		}
		if s.spoil != nil {
			frames = s.spoil(frames)
		}
	}
	f.mu.Unlock()
	for _, text := range frames {
		if wsutil.WriteServerText(conn, []byte(text)) != nil {
			return
		}
	}
}

func (s *historyServer) Keep(_ context.Context, c int, m Message) (Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[c] = append(s.kept[c], m)
	return Position{"e", strconv.Itoa(len(s.kept[c]))}, s.keepErr
}

func (s *historyServer) Follower(i, c int, from Position) (Client, error) {
	client, err := s.Client(i)
	offset := from.Offset
	if offset == "" {
		offset = "0"
	}
	client.Join = clientFrame(text(fmt.Sprintf("join %d %s", c, offset)))
	return client, err
}

func (s *historyServer) Reads(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads, nil
}

func recoverOptions() RecoverOptions {
	return RecoverOptions{Clients: 10, Channels: 3, Missed: 5, PayloadBytes: 100, InFlight: 4}
}

func TestRecover(t *testing.T) {
	for _, watched := range []bool{false, true} {
		s := startHistoryServer(t, nil)
		o := recoverOptions()
		o.Watched = watched
		r, err := Recover(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Reads != 10 || r.ReadsPerChannel != 10.0/3 || r.Recovery.P50 <= 0 || r.Latency.P50 < r.Recovery.P50 || r.Seconds <= 0 || r.CPUSeconds <= 0 {
			t.Errorf("result %+v", r)
		}
		want := 0
		if watched {
			want = 3
		}
		s.mu.Lock()
		if s.watching != want || len(s.kept) != 3 || len(s.kept[2]) != 6 {
			t.Errorf("%d watchers, want %d; kept %v", s.watching, want, s.kept)
		}
		s.mu.Unlock()
	}
}

func TestRecoverFails(t *testing.T) {
	for want, spoil := range map[string]func([]string) []string{
		"got message 2 where 1 was due": func(f []string) []string { f[1], f[2] = f[2], f[1]; return f },
		"got message 1 where 2 was due": func(f []string) []string { return slices.Insert(f, 1, f[1]) },
		"got message 4 where 3 was due": func(f []string) []string { return slices.Delete(f, 3, 4) },
		`sent this among what was missed: {"type":"gap"}`: func(f []string) []string {
			return slices.Insert(f, 2, `{"type":"gap"}`)
		},
		"can't recover":            func([]string) []string { return []string{`{"data":{"recovered":false}}`} },
		"refused to set up a clie": func([]string) []string { return []string{`{"type":"error"}`} },
	} {
		t.Run(want, func(t *testing.T) {
			s := startHistoryServer(t, spoil)
			if _, err := Recover(t.Context(), s, recoverOptions()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v", err)
			}
		})
	}
	s := startHistoryServer(t, nil)
	s.keepErr = errors.New("full")
	if _, err := Recover(t.Context(), s, recoverOptions()); !errors.Is(err, s.keepErr) {
		t.Errorf("error %v", err)
	}
}

func TestRecoverOptionsValidate(t *testing.T) {
	if err := recoverOptions().Validate(); err != nil {
		t.Error(err)
	}
	for i, spoil := range []func(*RecoverOptions){
		func(o *RecoverOptions) { o.Clients = 0 },
		func(o *RecoverOptions) { o.Channels = 0 },
		func(o *RecoverOptions) { o.Channels = 11 },
		func(o *RecoverOptions) { o.Missed = 0 },
		func(o *RecoverOptions) { o.Missed = 1001 },
		func(o *RecoverOptions) { o.PayloadBytes = 1 },
		func(o *RecoverOptions) { o.InFlight = 0 },
	} {
		o := recoverOptions()
		spoil(&o)
		if _, err := Recover(t.Context(), nil, o); err == nil {
			t.Errorf("case %d: %+v is valid", i, o)
		}
	}
}

func TestPushdFollower(t *testing.T) {
	f := &fakeAPI{answer: echo}
	p := openFake(t, f, Target{WebSocket: "ws://127.0.0.1:8080/ws", Secret: []byte(strings.Repeat("s", 32))})
	for want, from := range map[string]Position{
		`{"type":"join_channel","data":{"channel":"tenant:bench:bench-7"}}`:                                       {},
		`{"type":"join_channel","data":{"channel":"tenant:bench:bench-7","recover":{"epoch":"e","offset":"12"}}}`: {"e", "12"},
	} {
		c, err := p.Follower(3, 7, from)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := ws.ReadFrame(strings.NewReader(string(c.Join)))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(ws.UnmaskFrame(frame).Payload); got != want {
			t.Errorf("joins with %s, want %s", got, want)
		}
		if !strings.HasSuffix(string(c.Request), "\r\nSec-WebSocket-Protocol: pushd.v1.json\r\n\r\n") {
			t.Errorf("request %q", c.Request)
		}
	}
	if _, err := p.Keep(t.Context(), 7, Message{Bytes: MinPayload}); err == nil || !strings.Contains(err.Error(), "no history") {
		t.Errorf("a server that stores nothing: %v", err)
	}
	if n, err := p.Reads(t.Context()); n != 0 || err != nil {
		t.Error(n, err)
	}
}

var _ HistoryServer = (*Pushd)(nil)
