package archtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/didcomm-go/didcomm"

// folderRules says which top folders a top folder may import besides itself.
// A folder that is not listed here may not exist.
var folderRules = map[string][]string{
	"did":       nil,
	"transport": nil,
	"agent":     {"did", "transport"},
	"protocols": {"agent", "did"},
	"cmd":       {"did", "transport", "agent", "protocols"},
	"examples":  {"did", "transport", "agent", "protocols"},
}

// packageRules says which of our packages a package inside a top folder, and those
// below it, may import besides its own folder. The longest rule that matches
// a path counts; folderRules apply besides.
var packageRules = map[string][]string{
	"agent/message":             {},
	"agent/store":               {},
	"agent/contact":             {"agent/store", "did"},
	"agent/logs":                {},
	"agent/internal/x25519":     {},
	"agent/envelope":            {"agent/internal/x25519", "agent/message", "did"},
	"agent/identity":            {"agent/envelope", "agent/keyring", "agent/store", "did"},
	"agent/mediator":            {"agent/message", "agent/store", "did"},
	"agent/network":             {"did", "transport"},
	"agent/keyring":             {"agent/internal/x25519", "agent/envelope", "agent/store", "did"}, // the Keys that envelope asks for
	"agent/keyring/pkcs11":      {"agent/envelope", "agent/keyring", "did"},
	"agent/keyring/keyringtest": {"agent/envelope", "agent/keyring", "agent/message", "did"},
	"cmd/internal/config":       {},
	"cmd/internal/network":      {"did", "transport"},
	"cmd/internal/home":         {"agent", "cmd/internal/network", "did"},
	"cmd/internal/client":       {"agent", "cmd/internal/home", "cmd/internal/network", "did", "protocols", "transport"},
	"cmd/internal/server":       {"agent", "cmd/internal/home", "cmd/internal/network", "cmd/internal/qrcode", "did", "protocols", "transport"},
	"cmd/internal/qrcode":       {},
}

// exactRules says which of our packages a package may import: those alone, and
// not what is below them. It says nothing of packages below its own.
var exactRules = map[string][]string{
	"agent":          {"agent/contact", "agent/delivery", "agent/envelope", "agent/message", "agent/store", "did", "did/lru", "transport"}, // no DID method, no guard
	"agent/delivery": {"agent/store", "transport"},
}

// moduleRules says which of our packages, and those below them, may import a
// third-party module outside tests. Drivers (database, broker, web framework,
// command line) stay where the program that links them has asked for them.
var moduleRules = map[string][]string{
	"filippo.io/edwards25519":                   {"did", "agent/internal/x25519"},
	"github.com/cloudflare/circl":               {"agent/internal/x25519"},
	"github.com/decred/dcrd/dcrec/secp256k1/v4": {"did", "agent/envelope", "agent/keyring"},
	"github.com/go-json-experiment/json":        {"did", "transport", "agent", "protocols", "cmd", "examples"},
	"github.com/gofrs/flock":                    {"cmd/internal/home"},
	"github.com/gorilla/websocket":              {"transport/wstransport", "examples/interop"},
	"github.com/jackc/pgx/v5":                   {"agent/store/sqlstore/postgres"},
	"github.com/pressly/goose/v3":               {"agent/store/sqlstore"},
	"github.com/labstack/echo/v4":               {"cmd/internal/server", "agent/admin"},
	"github.com/lestrrat-go/jwx/v2":             {"did", "agent/envelope", "agent/keyring"},
	"github.com/miekg/pkcs11":                   {"agent/keyring/pkcs11"}, // cgo
	"github.com/mr-tron/base58":                 {"did", "agent/message", "examples/interop"},
	"github.com/multiformats/go-multibase":      {"did", "agent/message"},
	"github.com/spf13/cobra":                    {"cmd/internal/cli"},
	"github.com/spf13/pflag":                    {"cmd/internal/cli", "cmd/internal/config"},
	"go.yaml.in/yaml/v3":                        {"cmd/internal/config"},
	"golang.org/x/crypto":                       {"did", "agent", "examples/interop"},
	"golang.org/x/term":                         {"cmd/internal/cli"},
	"golang.org/x/time":                         {"did", "agent", "transport/gate"},
	"modernc.org/sqlite":                        {"agent/store/sqlstore/sqlite"},
	"rsc.io/qr":                                 {"cmd/internal/qrcode"},
	"golang.org/x/sync":                         {"did", "transport", "agent", "protocols", "cmd", "examples"},
}

// drivers are what only a program links that asked for it.
var drivers = []string{
	"database/sql", "modernc.org", "github.com/jackc", "github.com/pressly/goose",
	"github.com/spf13/cobra", "github.com/labstack/echo", "github.com/gorilla/websocket", "go.yaml.in/yaml",
}

// driverRules says what the packages that others embed must not link, not
// even through one of our packages.
var driverRules = map[string][]string{
	"agent/envelope": drivers,
	"agent":          drivers,
	"did":            drivers,
	"protocols/...":  drivers,
	// Who chose one database links no driver of the other.
	"agent/store/sqlstore":          {"modernc.org", "github.com/jackc"},
	"agent/store/sqlstore/sqlite":   {"github.com/jackc"},
	"agent/store/sqlstore/postgres": {"modernc.org"},
}

type pkg struct {
	ImportPath string
	Dir        string
	Name       string
	GoFiles    []string
	Imports    []string
	Deps       []string
	Standard   bool
	Module     *struct{ Path string }
}

// rel is the package's path below the module.
func (p pkg) rel() string { return relative(p.ImportPath) }

func relative(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

// within reports whether path is folder or below it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func withinAny(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return within(path, f) })
}

// tags are those of code that is no test: it keeps the rules as well.
const tags = "pkcs11"

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-tags=" + tags, "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps,Standard,Module"}, args...)...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.Bytes())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		t.Fatalf("go list %v found no package", args)
	}
	return pkgs
}

// moduleOf returns the longest listed module that holds importPath.
func moduleOf(importPath string) (string, bool) {
	best := ""
	for m := range moduleRules {
		if within(importPath, m) && len(m) > len(best) {
			best = m
		}
	}
	return best, best != ""
}

func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func TestImports(t *testing.T) {
	used := map[string]bool{}
	for _, p := range list(t, "./...") {
		for _, bad := range violations(p) {
			t.Error(bad)
		}
		for _, imp := range p.Imports {
			if mod, ok := moduleOf(imp); ok {
				used[mod] = true
			}
		}
	}
	for mod := range moduleRules {
		if !used[mod] {
			t.Errorf("moduleRules lists %s, which nothing imports", mod)
		}
	}
}

// violations returns a line for each import of p that the tables forbid.
func violations(p pkg) []string {
	var bad []string
	top, _, _ := strings.Cut(p.rel(), "/")
	folders, known := folderRules[top]
	if !known {
		return []string{p.rel() + ": stands in no folder of the design"}
	}
	for _, imp := range p.Imports {
		switch {
		case within(imp, module):
			to := relative(imp)
			toTop, _, _ := strings.Cut(to, "/")
			if toTop != top && !slices.Contains(folders, toTop) {
				bad = append(bad, p.rel()+" may not import "+to+": "+top+" imports only "+names(folders))
			}
			if rule, allowed := packageRule(p.rel()); rule != "" && !within(to, rule) && !withinAny(to, allowed) {
				bad = append(bad, p.rel()+" may not import "+to+": "+rule+" imports only "+names(allowed))
			}
			if allowed, ok := exactRules[p.rel()]; ok && !slices.Contains(allowed, to) {
				bad = append(bad, p.rel()+" may not import "+to+": it imports only "+names(allowed))
			}
		case standard(imp):
		default:
			mod, known := moduleOf(imp)
			if !known {
				bad = append(bad, p.rel()+" imports "+imp+": its module is not in moduleRules")
			} else if !withinAny(p.rel(), moduleRules[mod]) {
				bad = append(bad, p.rel()+" may not import "+imp+": only "+strings.Join(moduleRules[mod], ", ")+" may")
			}
		}
	}
	return bad
}

func names(folders []string) string {
	if len(folders) == 0 {
		return "itself"
	}
	return strings.Join(folders, ", ")
}

// packageRule returns the longest entry of packageRules that holds path.
func packageRule(path string) (rule string, allowed []string) {
	for r, a := range packageRules {
		if within(path, r) && len(r) > len(rule) {
			rule, allowed = r, a
		}
	}
	return rule, allowed
}

// The rules themselves must refuse what they are there to refuse.
func TestViolations(t *testing.T) {
	for _, tt := range []struct {
		from, imports string
		ok            bool
	}{
		{"did/didweb", "did", true},
		{"did/didweb", "transport/netguard", false},
		{"transport/wstransport", "github.com/gorilla/websocket", true},
		{"transport/wstransport", "agent/message", false},
		{"agent", "github.com/gorilla/websocket", false},
		{"agent", "agent/keyring", false},
		{"agent", "agent/store", true},
		{"agent", "agent/store/sqlstore", false},
		{"agent", "did", true},
		{"agent", "did/didpeer", false},
		{"agent", "transport/netguard", false},
		{"agent/delivery", "agent/store", true},
		{"agent/delivery", "agent/message", false},
		{"agent/agenttest", "agent/keyring", true},
		{"agent/agenttest", "transport/netguard", true},
		{"agent", "protocols/trustping", false},
		{"agent/message", "did", false},
		{"agent/message", "agent", false},
		{"agent/store/sqlstore", "agent/store", true},
		{"agent/store/sqlstore", "agent/message", false},
		{"agent/envelope", "agent/message", true},
		{"agent/envelope", "agent/keyring", false},
		{"agent/envelope/internal/jwe", "agent/envelope", true},
		{"protocols/trustping", "agent", true},
		{"protocols/trustping", "transport", false},
		{"protocols/trustping", "protocols/empty", true},
		{"cmd/internal/server", "github.com/labstack/echo/v4/middleware", true},
		{"cmd/internal/cli", "github.com/labstack/echo/v4", false},
		{"cmd/internal/cli", "cmd/internal/server", true},
		{"cmd/internal/client", "cmd/internal/home", true},
		{"cmd/internal/client", "cmd/internal/server", false},
		{"cmd/internal/server", "cmd/internal/home", true},
		{"cmd/internal/server", "cmd/internal/client", false},
		{"cmd/internal/home", "cmd/internal/network", true},
		{"cmd/internal/home", "cmd/internal/client", false},
		{"cmd/internal/home", "cmd/internal/server", false},
		{"cmd/internal/home", "protocols/trustping", false},
		{"cmd/internal/network", "cmd/internal/home", false},
		{"examples/embed", "cmd/internal/server", false},
		{"cmd/didcomm", "example.org/unlisted", false},
		{"cmd/didcomm", "net/http", true},
		{"util", "net/http", false},
	} {
		imp := tt.imports
		if top, _, _ := strings.Cut(imp, "/"); folderRules[top] != nil || top == "did" || top == "transport" {
			imp = module + "/" + imp
		}
		bad := violations(pkg{ImportPath: module + "/" + tt.from, Imports: []string{imp}})
		if got := len(bad) == 0; got != tt.ok {
			t.Errorf("%s -> %s: ok = %v, want %v (%v)", tt.from, tt.imports, got, tt.ok, bad)
		}
	}
}

func TestLinksNoDriver(t *testing.T) {
	for target, forbidden := range driverRules {
		for _, p := range list(t, "./"+target) {
			for _, dep := range p.Deps {
				if withinAny(dep, forbidden) || slices.ContainsFunc(forbidden, func(f string) bool { return strings.HasPrefix(dep, f+"/v") }) {
					t.Errorf("%s links %s", p.rel(), dep)
				}
			}
		}
	}
}
