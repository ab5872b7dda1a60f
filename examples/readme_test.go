// The tests here hold README.md to what there is: its Go code compiles and runs,
// and its commands, flags and folders exist.
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
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/discover"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

// seal packs a text that bob alone can read, and knows to be from alice. The
// other side opens it with Packer.Unpack.
func seal(ctx context.Context, packer *envelope.Packer, alice, bob, text string) ([]byte, error) {
	m, err := basicmessage.New(text, "en")
	if err != nil {
		return nil, err
	}
	sealed, err := packer.Pack(ctx, m, envelope.From(alice), envelope.To(bob))
	if err != nil {
		return nil, err
	}
	return sealed[0].Data, nil // one envelope for each recipient
}

// mount puts an agent on a router. Keep its Run(ctx) running, and from when it is
// Ready() send with the functions of the protocols: trustping.Ping(ctx, a, did).
func mount(router *http.ServeMux, id string, packer *envelope.Packer, senders map[string]transport.Sender) (*agent.Agent, error) {
	a, err := agent.New(agent.Config{
		DID:     id,
		Packer:  packer,
		Handler: agent.NewMux(trustping.Handle(), discover.Handle()),
		Senders: senders,
	})
	if err != nil {
		return nil, err
	}
	router.Handle("/didcomm", httptransport.NewHandler(a, httptransport.HandlerConfig{}))
	return a, nil
}

func TestSeal(t *testing.T) {
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	data, err := seal(t.Context(), alice.Packer, alice.DID, bob.DID, "hello, Bob")
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

func TestMount(t *testing.T) {
	router := http.NewServeMux()
	server := httptest.NewServer(router)
	defer server.Close()
	bob := agenttest.NewParty(t, server.URL+"/didcomm")
	a, err := mount(router, bob.DID, bob.Packer, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	alice := agenttest.NewNet().Agent(t, nil, agenttest.HTTP(), agenttest.Hidden())
	if _, err := trustping.Ping(t.Context(), alice, bob.DID); err != nil {
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

// Each command of README.md exists, with each flag and variable that it names.
func TestReadmeCommands(t *testing.T) {
	text := readme(t)
	binary := filepath.Join(t.TempDir(), "didcomm.exe")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/didcomm").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// A switch is followed by the values that it takes in brackets.
	help := func(command ...string) string {
		out, err := exec.Command(binary, append(command, "--help")...).Output()
		if err != nil {
			t.Fatalf("didcomm %s --help: %v", strings.Join(command, " "), err)
		}
		return strings.ReplaceAll(string(out), "[=", " [=")
	}
	all := help()
	for _, command := range []string{"serve", "ping", "send", "pack", "unpack", "inspect", "did create", "did resolve", "inbox", "outbox list", "key list", "key passwd"} {
		all += help(strings.Fields(command)...)
	}

	flags := regexp.MustCompile(`--[a-z][a-z-]+`)
	for _, line := range strings.Split(strings.Join(blocks(text, "sh"), ""), "\n") {
		command, ok := strings.CutPrefix(line, "go run ./cmd/didcomm ")
		if !ok {
			continue
		}
		verb := strings.Fields(command)[0]
		own := help(verb)
		for _, flag := range flags.FindAllString(command, -1) {
			if !strings.Contains(own, flag+" ") {
				t.Errorf("%s: %s has no %s", line, verb, flag)
			}
		}
	}
	for _, flag := range flags.FindAllString(text, -1) {
		if !strings.Contains(all, flag+" ") {
			t.Errorf("README.md names %s, which no command has", flag)
		}
	}
	for _, m := range regexp.MustCompile(`DIDCOMM_([A-Z_]+)`).FindAllStringSubmatch(text, -1) {
		flag := "--" + strings.ReplaceAll(strings.ToLower(m[1]), "_", "-")
		// The passphrase is no flag, which others could read; help names it.
		if !strings.Contains(all, flag+" ") && !strings.Contains(all, m[0]) {
			t.Errorf("README.md names %s, but no command has %s", m[0], flag)
		}
	}
}

// Each folder that README.md names exists.
func TestReadmePaths(t *testing.T) {
	paths := regexp.MustCompile("(?:\\./|`)((?:did|transport|agent|protocols|cmd|examples|\\.ci)(?:/[a-z0-9]+)*)").FindAllStringSubmatch(readme(t), -1)
	if len(paths) < 10 {
		t.Fatalf("found only %d paths", len(paths))
	}
	for _, m := range paths {
		if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(m[1]))); err != nil {
			t.Error(err)
		}
	}
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
		tag := regexp.MustCompile(`^//go:build (interop|postgres|pkcs11|crash)\b`).FindSubmatch(line)
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
