package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
