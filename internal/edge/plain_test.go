package edge_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/message"
)

// The transcripts in testdata/plain freeze the plain dialect byte for byte. A
// line is one of these; what is indented goes on, blank lines and those that
// begin with # say nothing:
//
//	open NAME TENANT[/USER] [role=R]... [channel=PATTERN]...
//	close NAME                    cuts the connection
//	NAME > TEXT                   this client sends it; \r and \n stand for CR and LF
//	NAME < TEXT                   the next message it gets; <time> stands for a
//	                              timestamp, <NAME> for a client's connection id
//	NAME <                        it gets nothing
//	user TENANT/USER [TYPE] TEXT  the cluster delivers it to a user
//	tenant TENANT TEXT            ... to a tenant
//	channel TENANT CHANNEL TEXT   ... to a channel
//	all TEXT                      ... to everybody
//	bus ok|away|full|too_large    what publishing says from now on
//
// At the end nobody may have got anything more.
func TestPlainTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/plain/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			onEachDriver(t, nil, func(t *testing.T, e *env) {
				p := player{t: t, e: e, clients: make(map[string]*client), names: make(map[string]string)}
				for i, line := range strings.Split(string(text), "\n") {
					p.where = i + 1
					p.play(line)
				}
				for _, c := range p.clients {
					c.quiet()
				}
			})
		})
	}
}

// player plays one transcript.
type player struct {
	t       *testing.T
	e       *env
	where   int
	clients map[string]*client
	// names are the clients' names by connection id.
	names map[string]string
}

func (p *player) play(line string) {
	p.t.Helper()
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "open":
		p.open(strings.Fields(rest))
	case "close":
		p.clients[rest].hangUp()
		delete(p.clients, rest)
		p.e.awaitConnections(p.t, uint64(len(p.clients)))
	case "user", "tenant", "channel", "all":
		p.deliver(verb, rest)
	case "bus":
		refuse, ok := map[string]error{
			"ok": nil, "away": message.ErrUnavailable, "full": message.ErrOverloaded, "too_large": message.ErrTooLarge,
		}[rest]
		if !ok {
			p.t.Fatalf("line %d: bus %s", p.where, rest)
		}
		p.e.bus.set(func(b *fakeBus) { b.refuse = refuse })
	default:
		p.talk(verb, rest)
	}
}

func (p *player) open(words []string) {
	p.t.Helper()
	var w who
	w.tenant, w.user, _ = strings.Cut(words[1], "/")
	for _, word := range words[2:] {
		kind, value, _ := strings.Cut(word, "=")
		switch kind {
		case "role":
			w.roles = append(w.roles, value)
		case "channel":
			w.channels = append(w.channels, value)
		default:
			p.t.Fatalf("line %d: %s", p.where, word)
		}
	}
	c := p.e.upgrade(p.t, "/ws", token(p.t, w))
	first := c.next()
	c.ID = first.Field("connectionId")
	if _, err := message.ParseID(c.ID); err != nil {
		p.t.Fatalf("connection id %q: %v", c.ID, err)
	}
	p.clients[words[0]], p.names[c.ID] = c, words[0]
	want := `{"type":"connection","data":{"connectionId":"<` + words[0] + `>","timestamp":"<time>"}}`
	if got := p.normal(first.Text); got != want {
		p.t.Errorf("line %d: got %s", p.where, got)
	}
}

func (p *player) talk(name, rest string) {
	p.t.Helper()
	c := p.clients[name]
	if c == nil {
		p.t.Fatalf("line %d: nobody is called %s", p.where, name)
	}
	text := strings.TrimPrefix(rest[1:], " ")
	switch {
	case rest[0] == '>':
		c.send(strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(text))
	case rest == "<":
		c.quiet()
	case rest[0] == '<':
		if got := p.normal(c.next().Text); got != text {
			p.t.Fatalf("line %d\ngot  %s\nwant %s", p.where, got, text)
		}
	default:
		p.t.Fatalf("line %d: %s", p.where, rest)
	}
}

func (p *player) deliver(verb, rest string) {
	p.t.Helper()
	before, text, _ := strings.Cut(rest, "{")
	words := strings.Fields(before)
	m := &message.Message{ID: message.NewID(), Payload: []byte("{" + text)}
	switch verb {
	case "all":
		m.Target = address.AllTarget()
	case "tenant":
		m.Target = tenantTarget(words[0])
	case "channel":
		m.Target = channelTarget(words[0], words[1])
	case "user":
		tenant, user, _ := strings.Cut(words[0], "/")
		m.Target = userTarget(tenant, user)
		if len(words) > 1 {
			m.NotificationType = words[1]
		}
	}
	p.e.hub.Deliver(m)
}

var (
	timestamps    = regexp.MustCompile(`"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
	connectionIDs = regexp.MustCompile(`"connectionId":"[^"]*"`)
)

// normal puts names where a text differs from run to run.
func (p *player) normal(text string) string {
	text = timestamps.ReplaceAllLiteralString(text, `"timestamp":"<time>"`)
	return connectionIDs.ReplaceAllStringFunc(text, func(member string) string {
		id := strings.TrimSuffix(strings.TrimPrefix(member, `"connectionId":"`), `"`)
		return `"connectionId":"<` + p.names[id] + `>"`
	})
}
