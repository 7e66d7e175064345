package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aegisx/pushd/internal/control"
	"github.com/aegisx/pushd/internal/edge/handshake"
)

const (
	configurationPage = "../../docs/configuration.md"
	readmePage        = "../../README.md"
)

// tableRows returns the cells of the rows of a page's tables whose first cell
// begins with begin.
func tableRows(t *testing.T, page, begin string) [][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| "+begin) || !strings.HasSuffix(line, " |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

func serveFlags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	(&config{}).addTo(fs)
	return fs
}

// documentedDefault returns what the cell of a flag's default must be. ok is
// false for a flag whose default is described in words.
func documentedDefault(f *pflag.Flag) (cell string, ok bool) {
	if d, err := time.ParseDuration(f.DefValue); err == nil && f.Value.Type() == "duration" {
		return "`" + shortDuration(d) + "`", true
	}
	return "`" + f.DefValue + "`", f.DefValue != ""
}

// checkRows holds rows of flag, variable, default and meaning against the
// flags of serve, and returns the flags that they name.
func checkRows(t *testing.T, rows [][]string) []string {
	t.Helper()
	fs := serveFlags()
	var named []string
	for _, cells := range rows {
		if len(cells) != 4 {
			t.Errorf("%q is not flag, variable, default and meaning", cells)
			continue
		}
		name := strings.Trim(cells[0], "`-")
		f := fs.Lookup(name)
		if f == nil {
			t.Errorf("there is no flag --%s", name)
			continue
		}
		if slices.Contains(named, name) {
			t.Errorf("--%s stands there twice", name)
		}
		named = append(named, name)
		if want := "`" + environmentName(name) + "`"; cells[1] != want {
			t.Errorf("--%s: variable is %s, want %s", name, cells[1], want)
		}
		switch want, ok := documentedDefault(f); {
		case ok && cells[2] != want:
			t.Errorf("--%s: default is %s, want %s", name, cells[2], want)
		case !ok && cells[2] == "":
			t.Errorf("--%s: nothing is said about its default", name)
		}
		if cells[3] == "" {
			t.Errorf("--%s: no meaning", name)
		}
	}
	return named
}

func TestConfigurationPageHasEveryFlag(t *testing.T) {
	named := checkRows(t, tableRows(t, configurationPage, "`--"))
	serveFlags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(named, f.Name) {
			t.Errorf("--%s is missing", f.Name)
		}
	})
}

func TestReadmeTableIsRight(t *testing.T) {
	if named := checkRows(t, tableRows(t, readmePage, "`--")); len(named) == 0 {
		t.Error("no flag is named")
	}
}

// The default of --http-addr is made by resolve, from --dev.
func TestConfigurationPageHasTheHTTPAddress(t *testing.T) {
	open, err := readConfig(t, nil, "--jwt-secret", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := readConfig(t, nil, "--dev")
	if err != nil {
		t.Fatal(err)
	}
	want := "`" + open.HTTPAddr + "`, with `--dev` `" + dev.HTTPAddr + "`"
	for _, page := range []string{configurationPage, readmePage} {
		rows := tableRows(t, page, "`--http-addr`")
		if len(rows) != 1 || rows[0][2] != want {
			t.Errorf("%s: rows %q, want the default %s", page, rows, want)
		}
	}
}

func TestConfigurationPageHasEveryVariable(t *testing.T) {
	text, err := os.ReadFile(configurationPage)
	if err != nil {
		t.Fatal(err)
	}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			for _, env := range f.Annotations[envAnnotation] {
				if !strings.Contains(string(text), "| `--"+f.Name+"` | `"+env+"` |") {
					t.Errorf("%s --%s: no row with %s", cmd.CommandPath(), f.Name, env)
				}
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand())
}

const metricsPage = "../../docs/metrics.md"

// section returns the text of a page below a heading, up to the next.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, below, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	below, _, _ = strings.Cut(below, "\n#")
	return below
}

// firstCells returns what stands in the first cells of the rows of tables, where
// that is code.
func firstCells(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			cell, _, _ := strings.Cut(rest, "`")
			all = append(all, cell)
		}
	}
	return all
}

// registeredMetrics returns the names of all metrics that a node registers,
// whether or not they have a value yet, with their variable labels.
func registeredMetrics(t *testing.T) map[string][]string {
	t.Helper()
	c, err := readConfig(t, nil, "--dev", "--data-dir", noDataDir)
	if err != nil {
		t.Fatal(err)
	}
	reg := newRegistry(buildInfo{Version: "v1", Go: "go1"})
	n := &node{config: c, log: slog.New(slog.DiscardHandler)}
	defer n.abandon()
	if err := n.buildCluster(t.Context(), reg); err != nil {
		t.Fatal(err)
	}
	if n.control, err = control.NewServer(control.Options{Registerer: reg}, n.router); err != nil {
		t.Fatal(err)
	}
	if _, err := handshake.New(handshake.Options{Registerer: reg}); err != nil {
		t.Fatal(err)
	}
	newMetricsServer(reg, nil)
	descs := make(chan *prometheus.Desc)
	go func() {
		reg.Describe(descs)
		close(descs)
	}()
	all := make(map[string][]string)
	for d := range descs {
		_, name, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		_, labels, ok := strings.Cut(d.String(), "variableLabels: {")
		labels, _, closed := strings.Cut(labels, "}")
		if !ok || !closed {
			t.Fatalf("no labels in %s", d)
		}
		all[name] = strings.FieldsFunc(labels, func(r rune) bool { return r == ',' })
	}
	return all
}

func TestMetricsPageHasEveryMetric(t *testing.T) {
	named := firstCells(section(t, metricsPage, "## All metrics"))
	registered := registeredMetrics(t)
	for _, name := range named {
		if _, ok := registered[name]; !ok {
			t.Errorf("there is no metric %s", name)
		}
	}
	for name := range registered {
		prefix, _, _ := strings.Cut(name, "_")
		switch prefix {
		case "go", "process", "promhttp": // named as a whole
		default:
			if !slices.Contains(named, name) {
				t.Errorf("%s is missing", name)
			}
		}
	}
}

// The labels of pushd_build_info are constant and stand in its only sample.
func TestMetricsPageHasTheLabelsOfEachMetric(t *testing.T) {
	registered := registeredMetrics(t)
	rows := tableRows(t, metricsPage, "`pushd_")
	if len(rows) == 0 {
		t.Fatal("no metric is named")
	}
	for _, cells := range rows {
		name := strings.Trim(cells[0], "`")
		var named []string
		for label := range strings.SplitSeq(cells[1], ",") {
			if label = strings.Trim(label, " `"); label != "" {
				named = append(named, label)
			}
		}
		if want := registered[name]; name != "pushd_build_info" && !slices.Equal(named, want) {
			t.Errorf("%s: labels are %q, want %q", name, named, want)
		}
	}
}

// constants returns the values of a package's constants whose name begins with
// prefix, as they stand in the source.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) != 1 {
			return true
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok {
			all = append(all, strings.Trim(value.Value, `"`))
		}
		return true
	})
	if len(all) == 0 {
		t.Fatalf("%s has no constants %s…", file, prefix)
	}
	return all
}

func TestMetricsPageHasEveryLabel(t *testing.T) {
	const edge = "../../internal/edge/"
	codes := constants(t, edge+"close.go", "close")
	for metric, c := range map[string]struct {
		values []string
		more   bool // the label takes others too
	}{
		"pushd_handshake_rejected_total":  {constants(t, edge+"handshake/rejection.go", "Reason"), false},
		"pushd_edge_refused_total":        {constants(t, edge+"metrics.go", "refuse"), false},
		"pushd_edge_dropped_total":        {constants(t, edge+"metrics.go", "drop"), false},
		"pushd_edge_errors_total":         {constants(t, edge+"command.go", "code"), false},
		"pushd_cluster_dropped_total":     {constants(t, "../../internal/cluster/metrics.go", "drop"), false},
		"pushd_edge_tokens_refused_total": {[]string{"4200", "4201", "4301"}, false},
		"pushd_edge_closed_total": {slices.DeleteFunc(codes, func(code string) bool {
			return code == "4201" || code == "4301" || code == "4303" // before a connection takes its place
		}), true},
	} {
		named := firstCells(section(t, metricsPage, "### `"+metric+"`"))[1:] // below the label's name
		for _, value := range c.values {
			if !slices.Contains(named, value) {
				t.Errorf("%s: %s is missing", metric, value)
			}
		}
		for _, value := range named {
			if !c.more && !slices.Contains(c.values, value) {
				t.Errorf("%s: there is no %s", metric, value)
			}
		}
	}
}

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// headingAnchors returns how the headings of a page are linked to.
func headingAnchors(text string) []string {
	var anchors []string
	code := false
	for line := range strings.Lines(text) {
		code = code != strings.HasPrefix(line, "```")
		if !code && strings.HasPrefix(line, "#") {
			title := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
			anchors = append(anchors, strings.ReplaceAll(notInAnchor.ReplaceAllString(title, ""), " ", "-"))
		}
	}
	return anchors
}

func TestLinksBetweenPagesLead(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("pages %v, %v", pages, err)
	}
	for _, page := range append(pages, readmePage) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range markdownLink.FindAllStringSubmatch(string(text), -1) {
			path, anchor, anchored := strings.Cut(link[1], "#")
			if strings.Contains(path, "://") {
				continue
			}
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			there, err := os.ReadFile(target)
			switch {
			case err != nil:
				t.Errorf("%s: %s: %v", page, link[1], err)
			case anchored && !slices.Contains(headingAnchors(string(there)), anchor):
				t.Errorf("%s: %s: there is no such heading", page, link[1])
			}
		}
	}
}

func TestReadmeNamesEveryPage(t *testing.T) {
	readme, err := os.ReadFile(readmePage)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := "docs/" + filepath.Base(page); !strings.Contains(string(readme), "("+name+")") {
			t.Errorf("%s is not linked", name)
		}
	}
}
