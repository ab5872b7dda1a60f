package archtest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// parsed is one package's files that are no tests.
type parsed struct {
	pkg
	fset  *token.FileSet
	files []*ast.File
}

func parseAll(t *testing.T) []parsed {
	t.Helper()
	var all []parsed
	for _, p := range list(t, "./...") {
		pp := parsed{pkg: p, fset: token.NewFileSet()}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(pp.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			pp.files = append(pp.files, f)
		}
		if len(pp.files) > 0 {
			all = append(all, pp)
		}
	}
	return all
}

func TestPackageDoc(t *testing.T) {
	for _, p := range parseAll(t) {
		documented := false
		for _, f := range p.files {
			documented = documented || len(strings.Fields(f.Doc.Text())) >= 5
		}
		if !documented {
			t.Errorf("%s has no package doc", p.rel())
		}
	}
}

func TestExportedDoc(t *testing.T) {
	for _, p := range parseAll(t) {
		for _, f := range p.files {
			for _, name := range undocumented(f) {
				t.Errorf("%s: %s has no doc comment", p.rel(), name)
			}
		}
	}
}

// undocumented returns the exported names of f without a doc comment. A
// comment on a group of constants or variables speaks for all of them, and
// methods that a standard interface asks for need none beyond its contract.
func undocumented(f *ast.File) []string {
	var names []string
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				recv := receiver(d)
				if !ast.IsExported(recv) {
					continue
				}
				name = recv + "." + name
			}
			if d.Name.IsExported() && d.Doc == nil {
				names = append(names, name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
						names = append(names, s.Name.Name)
					}
				case *ast.ValueSpec:
					for _, n := range s.Names {
						if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
							names = append(names, n.Name)
						}
					}
				}
			}
		}
	}
	return names
}

func receiver(d *ast.FuncDecl) string {
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// Who embeds the library must not have to name, or be broken by, a type of a
// third module.
func TestExportedAPINamesNoThirdPartyType(t *testing.T) {
	for _, p := range parseAll(t) {
		if top, _, _ := strings.Cut(p.rel(), "/"); top == "cmd" || top == "examples" || strings.Contains("/"+p.rel()+"/", "/internal/") {
			continue
		}
		for _, f := range p.files {
			for _, use := range thirdParty(f) {
				t.Errorf("%s: exported API names %s", p.rel(), use)
			}
		}
	}
}

var version = regexp.MustCompile(`^v[0-9]+$`)

// thirdParty returns the third-party selectors that exported declarations of
// f name in a signature, a field, a method, or the value of a variable.
func thirdParty(f *ast.File) []string {
	imports := map[string]string{}
	for _, spec := range f.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil || standard(importPath) || within(importPath, module) {
			continue
		}
		name := path.Base(importPath)
		if version.MatchString(name) {
			name = path.Base(path.Dir(importPath))
		}
		name = strings.TrimPrefix(name, "go-")
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imports[name] = importPath
	}
	var found []string
	var look func(n ast.Node)
	look = func(n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.SelectorExpr:
				if id, ok := x.X.(*ast.Ident); ok && imports[id.Name] != "" {
					found = append(found, imports[id.Name]+"."+x.Sel.Name)
				}
			case *ast.StructType:
				for _, field := range x.Fields.List {
					exported := len(field.Names) == 0
					for _, name := range field.Names {
						exported = exported || name.IsExported()
					}
					if exported {
						look(field.Type)
					}
				}
				return false
			case *ast.FuncLit:
				look(x.Type)
				return false
			}
			return true
		})
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
				look(d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						look(s.Type)
					}
				case *ast.ValueSpec:
					for i, n := range s.Names {
						if !n.IsExported() {
							continue
						}
						if s.Type != nil {
							look(s.Type)
						} else if i < len(s.Values) {
							look(s.Values[i])
						}
					}
				}
			}
		}
	}
	return found
}

func TestThirdParty(t *testing.T) {
	const src = `package p
import ("github.com/x/jwk/v2"; y "github.com/x/yy"; "net/http")
type T struct { Key jwk.Key; hidden jwk.Key; y.Embedded; H http.Handler }
type hidden struct { Key jwk.Key }
func F(func(y.A)) {}
func (hidden) M() jwk.Key { return nil }
func (*T) M() jwk.Set { return nil }
func g() jwk.Key { return nil }
var V = y.New()
var w = y.New()
type I interface { N(jwk.RSA) }
`
	f, err := parser.ParseFile(token.NewFileSet(), "p.go", src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(thirdParty(f), " ")
	want := "github.com/x/jwk/v2.Key github.com/x/yy.Embedded github.com/x/yy.A github.com/x/jwk/v2.Set github.com/x/yy.New github.com/x/jwk/v2.RSA"
	if got != want {
		t.Errorf("third-party types:\n got %s\nwant %s", got, want)
	}
	if got, want := strings.Join(undocumented(f), " "), "T F T.M V I"; got != want {
		t.Errorf("undocumented: got %s, want %s", got, want)
	}
}
