package archtest_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// topLevel is everything that may stand at the top of the repository, dot
// files apart.
var topLevel = map[string]bool{
	"go.mod": true, "go.sum": true, "README.md": true, "LICENSE": true, "CHANGELOG.md": true,
	"agent": true, "did": true, "transport": true, "protocols": true, "cmd": true, "examples": true,
}

// root is the top of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files returns the slash-separated paths of the repository: what git tracks
// or would track, or all there is where git knows nothing of it.
func files(t *testing.T) []string {
	t.Helper()
	dir := root(t)
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = dir
	if out, err := cmd.Output(); err == nil && len(out) > 0 {
		var names []string
		for name := range strings.SplitSeq(strings.Trim(string(out), "\x00"), "\x00") {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				names = append(names, name)
			}
		}
		return names
	}
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && d.Name() == ".git" {
				return fs.SkipDir
			}
			return err
		}
		rel, err := filepath.Rel(dir, path)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTopLevel(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range files(t) {
		top, _, _ := strings.Cut(name, "/")
		if seen[top] {
			continue
		}
		seen[top] = true
		if !topLevel[top] && !strings.HasPrefix(top, ".") {
			t.Errorf("%s stands at the top of the repository; the design names no such thing", top)
		}
	}
	for _, want := range []string{"go.mod", "cmd", ".ci"} {
		if !seen[want] {
			t.Errorf("%s is missing at the top of the repository (found %v)", want, seen)
		}
	}
}

// foreign matches what belongs to the machine that somebody works on and not
// into a file: absolute paths of scratch folders, and the hosts of package
// registries. The expressions are split so that they do not match themselves.
var foreign = regexp.MustCompile(`(^|[^A-Za-z0-9_.$})/-])/(wo` + `rk|tm` + `p)/[A-Za-z0-9._-]|proxy\.gol` + `ang\.org|py` + `pi\.org|pythonho` + `sted\.org|registry\.npm` + `js\.org`)

func TestForeign(t *testing.T) {
	for _, tt := range []struct {
		text string
		bad  bool
	}{
		{"see /wo" + "rk/main/did", true},
		{`"/tm` + `p/x"`, true},
		{"https://example.org/wo" + "rk/x", false},
		{"$WORK/tm" + "p/x", false},
		{"GOPROXY=https://proxy.gol" + "ang.org", true},
	} {
		if got := foreign.MatchString(tt.text); got != tt.bad {
			t.Errorf("%q: %v, want %v", tt.text, got, tt.bad)
		}
	}
}

func TestNoForeignPaths(t *testing.T) {
	for _, name := range files(t) {
		data, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			continue // removed meanwhile, or a link to nowhere
		}
		if len(data) > 1<<20 || bytes.IndexByte(data, 0) >= 0 {
			continue
		}
		for i, line := range strings.Split(string(data), "\n") {
			if m := foreign.FindString(line); m != "" {
				t.Errorf("%s:%d names %q", name, i+1, strings.TrimSpace(m))
			}
		}
	}
}
