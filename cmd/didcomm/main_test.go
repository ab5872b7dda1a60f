package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// raceOptions keep a program with the race detector from waiting a second for
// late reports each time that it ends.
const raceOptions = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"didcomm": main})
}

// vectors are the messages, keys and documents of DIDComm Messaging v2.1,
// Appendix A to C.
const vectors = "../../agent/envelope/testdata/didcomm-v2.1"

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent":       scriptAgent,
			"says":        scriptSays,
			"logged":      scriptLogged,
			"logs":        scriptLogs,
			"interrupt":   scriptInterrupt,
			"freeport":    scriptFreePort,
			"fetch":       fetch,
			"post":        scriptPost,
			"rekey":       rekey,
			"certificate": certificate,
			"status":      status,
			"field":       field,
			"tamper":      tamper,
			"envfile":     envfile,
			"until":       until,
			"cutoff":      cutOff,
			"newerschema": newerSchema,
			"forgetdids":  forgetDIDs,
		},
	})
}

// setUp gives each script a home of its own and the vectors: $WORK/vectors, with
// the private keys as alice.json and bob.json.
func setUp(env *testscript.Env) error {
	env.Values[agentsKey{}] = newAgents()
	env.Setenv("GORACE", raceOptions)
	env.Setenv("DIDCOMM_HOME", filepath.Join(env.WorkDir, "home"))
	env.Setenv("VECTORS", filepath.Join(env.WorkDir, "vectors"))
	dir := filepath.Join(env.WorkDir, "vectors")
	if err := os.CopyFS(dir, os.DirFS(vectors)); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "secrets.json"))
	if err != nil {
		return err
	}
	var people map[string]json.RawMessage
	if err := json.Unmarshal(data, &people); err != nil {
		return err
	}
	for name, keys := range people {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), keys, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// status runs a program that has to end with a certain exit status:
//
//	status 2 didcomm pack --bogus
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// field puts a string of a JSON file into a variable:
//
//	field DID stdout did
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: field VARIABLE FILE name...")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	for _, name := range args[2:] {
		m, ok := v.(map[string]any)
		if !ok {
			ts.Fatalf("no field %s in %s", name, args[1])
		}
		v = m[name]
	}
	s, ok := v.(string)
	if !ok {
		ts.Fatalf("%v in %s is no string", args[2:], args[1])
	}
	ts.Setenv(args[0], s)
}

// envfile puts the first lines of files into variables:
//
//	envfile ALICE=alice.did BOB=bob.did
func envfile(ts *testscript.TestScript, neg bool, args []string) {
	for _, arg := range args {
		name, file, ok := strings.Cut(arg, "=")
		if neg || !ok {
			ts.Fatalf("usage: envfile VARIABLE=FILE...")
		}
		line, _, _ := strings.Cut(ts.ReadFile(file), "\n")
		ts.Setenv(name, line)
	}
}

// tamper changes one character of an envelope's ciphertext.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tamper FILE")
	}
	const member = `"ciphertext":"`
	data := ts.ReadFile(args[0])
	i := strings.Index(data, member) + len(member)
	if i < len(member) {
		ts.Fatalf("no ciphertext in %s", args[0])
	}
	other := "A"
	if data[i] == 'A' {
		other = "B"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(data[:i]+other+data[i+1:]), 0o600))
}

// fetch gets a URL into the file "body"; its status has to be 200, or 404 with !.
//
//	fetch $ALICE_URL
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] fetch URL")
	}
	resp, err := http.Get(args[0])
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	want := http.StatusOK
	if neg {
		want = http.StatusNotFound
	}
	if resp.StatusCode != want {
		ts.Fatalf("%s: %s", args[0], resp.Status)
	}
	ts.Check(os.WriteFile(ts.MkAbs("body"), body, 0o600))
}
