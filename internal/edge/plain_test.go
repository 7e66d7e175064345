package edge_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aegisx/pushd/internal/address"
	"github.com/aegisx/pushd/internal/edge"
	"github.com/aegisx/pushd/internal/history"
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
// In those of other dialects there may be, too:
//
//	open NAME ... dialect=D       another dialect than the others speak
//	user|channel ... [offset=N] [acked] [sent] TEXT
//	                              stored at N; to be acknowledged; from a client
//	accept ok|conflict|history_full|stored=N|duplicate=N
//	                              what becomes of what is published with an id or key
//	history keep|epoch|gap WORD   the history keeps a channel, begins anew, can't
//	                              prove that nothing is missing
//
// <id> stands for the id of a message.
//
// At the end nobody may have got anything more.
func TestPlainTranscripts(t *testing.T) {
	playTranscripts(t, "plain", "", nil)
}

// playTranscripts plays what is in a folder of testdata, but for files that skip
// names, with clients of a dialect.
func playTranscripts(t *testing.T, folder, dialect string, skip func(name string) bool) {
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.txt"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if skip != nil && skip(name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			for driver, newDriver := range drivers() {
				t.Run(driver, func(t *testing.T) {
					t.Parallel()
					p := player{t: t, shelf: newShelf(), dialect: dialect, clients: map[string]*client{}, names: map[string]string{}}
					p.e = newKeepingEnv(t, p.shelf, func(o *edge.Options) {
						o.NewDriver, o.PingInterval = newDriver, 25*time.Second // which clients are told
					})
					p.e.listen(t)
					for i, line := range strings.Split(string(text), "\n") {
						p.where = i + 1
						p.play(line)
					}
					for _, c := range p.clients {
						c.quiet()
					}
				})
			}
		})
	}
}

// player plays one transcript.
type player struct {
	t       *testing.T
	e       *env
	shelf   *shelf
	dialect string
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
	case "accept":
		p.accept(rest)
	case "history":
		p.shelf.change(rest)
	default:
		p.talk(verb, rest)
	}
}

func (p *player) open(words []string) {
	p.t.Helper()
	var w who
	dialect := p.dialect
	w.tenant, w.user, _ = strings.Cut(words[1], "/")
	for _, word := range words[2:] {
		kind, value, _ := strings.Cut(word, "=")
		switch kind {
		case "role":
			w.roles = append(w.roles, value)
		case "channel":
			w.channels = append(w.channels, value)
		case "dialect":
			dialect = value
		default:
			p.t.Fatalf("line %d: %s", p.where, word)
		}
	}
	c := p.e.upgradeAs(p.t, dialect, "/ws", token(p.t, w))
	first := c.next()
	c.ID = first.Field("connectionId")
	if _, err := message.ParseID(c.ID); err != nil {
		p.t.Fatalf("connection id %q: %v", c.ID, err)
	}
	p.clients[words[0]], p.names[c.ID] = c, words[0]
	more := ""
	if c.isV1() {
		if w.user != "" {
			more = `,"userId":` + quote(w.user)
		}
		more += `,"tenantId":` + quote(w.tenant) + `,"tokenExpiresAt":"<time>","pingInterval":25000,"maxMessageBytes":1048576`
	}
	want := `{"type":"connection","data":{"connectionId":"<` + words[0] + `>","timestamp":"<time>"` + more + `}}`
	p.compare(c, first.Text, want)
}

// compare holds a message against the transcript: byte for byte, or by its
// meaning where the client has it in another form.
func (p *player) compare(c *client, got, want string) {
	p.t.Helper()
	got = p.normal(got)
	if c.dialect == protoDialect {
		got, want = canonical(p.t, got), canonical(p.t, want)
	}
	if got != want {
		p.t.Fatalf("line %d\ngot  %s\nwant %s", p.where, got, want)
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
		p.compare(c, c.next().Text, text)
	default:
		p.t.Fatalf("line %d: %s", p.where, rest)
	}
}

func (p *player) deliver(verb, rest string) {
	p.t.Helper()
	before, text, _ := strings.Cut(rest, "{")
	m := &message.Message{ID: message.NewID(), Payload: []byte("{" + text)}
	var words []string
	for _, word := range strings.Fields(before) {
		kind, value, _ := strings.Cut(word, "=")
		switch kind {
		case "offset":
			m.Position = message.Position{Epoch: p.shelf.epochNow(), Offset: must(history.ParseOffset(value))}
		case "acked":
			m.Receipt.Level = message.LevelAcked
		case "sent":
			m.FromClient = true
		default:
			words = append(words, word)
		}
	}
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
	p.shelf.keep(m)
	p.e.hub.Deliver(m)
}

// accept makes the bus answer what is submitted: as usual, or with an error, or
// as stored at an offset, or as a duplicate of that.
func (p *player) accept(how string) {
	p.t.Helper()
	first := message.NewID()
	var accept func(*message.Message) (message.Accepted, error)
	kind, offset, _ := strings.Cut(how, "=")
	switch kind {
	case "ok":
	case "conflict":
		accept = refuseWith(message.ErrKeyConflict)
	case "history_full":
		accept = refuseWith(message.ErrHistoryFull)
	case "stored", "duplicate":
		at := message.Position{Epoch: p.shelf.epochNow(), Offset: must(history.ParseOffset(offset))}
		accept = func(*message.Message) (message.Accepted, error) {
			return message.Accepted{ID: first, Position: at, Duplicate: kind == "duplicate"}, nil
		}
	default:
		p.t.Fatalf("line %d: accept %s", p.where, how)
	}
	p.e.bus.set(func(b *fakeBus) { b.accept = accept })
}

func refuseWith(err error) func(*message.Message) (message.Accepted, error) {
	return func(*message.Message) (message.Accepted, error) { return message.Accepted{}, err }
}

var (
	timestamps    = regexp.MustCompile(`"(timestamp|tokenExpiresAt)":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
	messageIDs    = regexp.MustCompile(`"(messageId|deliveryId)":"[0-9A-Z]{26}"`)
	connectionIDs = regexp.MustCompile(`"connectionId":"[^"]*"`)
)

// normal puts names where a text differs from run to run.
func (p *player) normal(text string) string {
	text = timestamps.ReplaceAllString(text, `"$1":"<time>"`)
	text = messageIDs.ReplaceAllString(text, `"$1":"<id>"`)
	return connectionIDs.ReplaceAllStringFunc(text, func(member string) string {
		id := strings.TrimSuffix(strings.TrimPrefix(member, `"connectionId":"`), `"`)
		return `"connectionId":"<` + p.names[id] + `>"`
	})
}
