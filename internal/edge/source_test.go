package edge_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"strings"
	"testing"
)

// constants returns the values of the constants of a source file of this
// package whose names begin with prefix, as they are written there. Tests use
// it to notice a constant that no test knows of.
func constants(t *testing.T, file, prefix string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, d := range parsed.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != gotoken.CONST {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			value, ok := spec.Values[0].(*ast.BasicLit)
			if ok && strings.HasPrefix(spec.Names[0].Name, prefix) {
				all[spec.Names[0].Name] = strings.Trim(value.Value, `"`)
			}
		}
	}
	if len(all) < 5 {
		t.Fatalf("%s has %d constants %s…", file, len(all), prefix)
	}
	return all
}
