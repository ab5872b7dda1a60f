// The tests here hold README.md and the other documents to what there is: Go code
// compiles and runs, and folders, links, tests and suites exist. Commands and flags
// of the program are held by the tests of package cli, sessions by those of
// cmd/didcomm.
package examples_test

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/network"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

// seal packs a message that only bob can read. The envelope proves to bob that alice
// is the sender. Packer.Unpack opens it.
func seal(ctx context.Context, packer *envelope.Packer, m *message.Message, alice, bob string) ([]byte, error) {
	sealed, err := packer.Pack(ctx, m, envelope.From(alice), envelope.To(bob))
	if err != nil {
		return nil, err
	}
	return sealed[0].Data, nil // one envelope for each recipient
}

// start puts an agent on a router. The agent answers pings until ctx ends, or until Stop.
func start(ctx context.Context, router *http.ServeMux, id *identity.Identity, peers *network.Network) (*agent.Agent, error) {
	a, err := agent.Start(ctx, agent.Config{
		DID: id.DID(), Keys: id, Resolver: peers.Resolver, Senders: peers.Senders(),
		Handler: agent.NewMux(trustping.Handle()),
	})
	if err != nil {
		return nil, err
	}
	router.Handle("/didcomm", httptransport.NewHandler(a, httptransport.HandlerConfig{}))
	return a, nil
}

func TestSeal(t *testing.T) {
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	m, err := basicmessage.New("hello, Bob", "en")
	if err != nil {
		t.Fatal(err)
	}
	data, err := seal(t.Context(), alice.Packer, m, alice.DID, bob.DID)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := bob.Packer.Unpack(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if !opened.Metadata.Encrypted || !opened.Metadata.Authenticated || opened.Message.From != alice.DID {
		t.Errorf("from %s, %+v", opened.Message.From, opened.Metadata)
	}
}

func TestStart(t *testing.T) {
	router := http.NewServeMux()
	server := httptest.NewServer(router)
	defer server.Close()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer2(pair, server.URL+"/didcomm")
	if err != nil {
		t.Fatal(err)
	}
	peers := network.New(network.Config{})
	defer peers.Close()
	ctx, stop := context.WithCancel(t.Context())
	bob, err := start(ctx, router, id, peers)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		<-bob.Done()
	}()
	alice := agenttest.NewNet().Agent(t, nil, agenttest.HTTP(), agenttest.Hidden())
	if _, err := trustping.Ping(t.Context(), alice, bob.DID()); err != nil {
		t.Error(err)
	}
}

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks are the code blocks of a language.
func blocks(text, language string) []string {
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// Each Go block of README.md is a function of this file, letter by letter.
func TestReadmeCode(t *testing.T) {
	const name = "readme_test.go"
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]bool{}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Doc != nil {
			from, to := fset.Position(f.Doc.Pos()).Offset, fset.Position(f.End()).Offset
			functions[string(source[from:to])+"\n"] = true
		}
	}
	found := blocks(readme(t), "go")
	if len(found) < 2 {
		t.Errorf("README.md has %d blocks of Go, want at least 2", len(found))
	}
	for _, block := range found {
		if !functions[block] {
			t.Errorf("README.md has code that is not in %s:\n%s", name, block)
		}
	}
}

// Each folder that a document names exists.
func TestReadmePaths(t *testing.T) {
	named := regexp.MustCompile("(?:\\./|`)((?:did|transport|agent|protocols|cmd|examples|\\.ci)(?:/[a-z0-9]+)*)")
	for name, text := range documents(t) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The table of packages in examples/README.md has those of the agent.
func TestReadmePackages(t *testing.T) {
	entries, err := os.ReadDir("../agent")
	if err != nil {
		t.Fatal(err)
	}
	text := documents(t)["examples/README.md"]
	for _, e := range entries {
		if e.IsDir() && e.Name() != "internal" && e.Name() != "testdata" && !strings.Contains(text, "\n| `agent/"+e.Name()+"` |") {
			t.Errorf("examples/README.md has no line for agent/%s", e.Name())
		}
	}
}

// Each link of a document to another, or to a heading, leads somewhere.
func TestReadmeLinks(t *testing.T) {
	all, found := documents(t), 0
	for name, text := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`).FindAllStringSubmatch(text, -1) {
			target, anchor := m[1], m[2]
			if strings.Contains(target, "://") {
				continue
			}
			found++
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(file))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if anchor != "" && !slices.Contains(anchors(all[file]), anchor) {
				t.Errorf("%s: %s has no heading #%s", name, file, anchor)
			}
		}
	}
	if found < 20 {
		t.Errorf("found only %d links", found)
	}
}

// anchors are the names of a document's headings in links.
func anchors(text string) []string {
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found = append(found, strings.ReplaceAll(name, " ", "-"))
	}
	return found
}

// documents are the texts of the Markdown files by their paths from the top.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".md" {
			return err
		}
		data, err := fs.ReadFile(root, name)
		all[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 8 {
		t.Fatalf("found only %d documents", len(all))
	}
	return all
}

// Each test and each flag in a "go test" of a document exists in the folder that it
// names.
func TestReadmeTests(t *testing.T) {
	found := 0
	for name, text := range documents(t) {
		for _, line := range regexp.MustCompile("go test [^`\n]*").FindAllString(text, -1) {
			args := strings.Fields(line)[2:]
			source := ""
			for _, arg := range args {
				if folder, ok := strings.CutPrefix(arg, "./"); ok {
					source += tests(t, folder)
				}
			}
			for i, arg := range args {
				switch flag, ok := strings.CutPrefix(arg, "-"); {
				case !ok || slices.Contains([]string{"tags", "timeout", "v", "run='^$'", "skip"}, flag):
				case flag == "run" && i+1 < len(args):
					found++
					test, _, _ := strings.Cut(strings.Trim(args[i+1], "'"), "/")
					if !regexp.MustCompile(`(?m)^func Test\w*` + strings.TrimPrefix(test, "Test")).MatchString(source) {
						t.Errorf("%s: %s: no test is called %s", name, line, test)
					}
				case strings.HasPrefix(flag, "bench="):
					if !strings.Contains(source, "func Benchmark") {
						t.Errorf("%s: %s: no benchmark", name, line)
					}
				default:
					found++
					flag, _, _ = strings.Cut(flag, "=")
					if !strings.Contains(source, `("`+flag+`",`) {
						t.Errorf("%s: %s: no test has the flag -%s", name, line, flag)
					}
				}
			}
		}
	}
	if found < 8 {
		t.Errorf("found only %d tests and flags", found)
	}
}

// tests are the sources of a folder's tests, with ... also of those below it.
func tests(t *testing.T, folder string) string {
	t.Helper()
	folder, below := strings.CutSuffix(folder, "...")
	folder = path.Clean(folder)
	var b strings.Builder
	root := os.DirFS("..")
	err := fs.WalkDir(root, folder, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != folder && !below:
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		data, err := fs.ReadFile(root, name)
		b.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each suite behind a build tag has its one command in README.md.
func TestReadmeSuites(t *testing.T) {
	text, found := readme(t), 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		line, _, _ := bytes.Cut(source, []byte("\n"))
		tag := regexp.MustCompile(`^//go:build (interop|postgres|pkcs11|crash|attack)\b`).FindSubmatch(line)
		if tag == nil {
			return nil
		}
		found++
		folder := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")
		for ; folder != "."; folder = filepath.ToSlash(filepath.Dir(folder)) {
			if regexp.MustCompile("`go test -tags " + string(tag[1]) + " [^`]*\\./" + folder + "[/` ]").MatchString(text) {
				return nil
			}
		}
		t.Errorf("README.md has no command for %s", path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("no suite found")
	}
}
