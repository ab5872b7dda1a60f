//go:build interop

package interop_test

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	write = flag.Bool("write", false, "write MATRIX.md, the summary in README.md, observed.go and testdata/verdicts.sum")
	// results are what the run found, for TestMain.
	results matrix
)

// matrix is the table: a row for each peer, then chapters about what several
// peers have part in.
type matrix struct {
	mu       sync.Mutex
	rows     []*row
	chapters []chapter
}

// chapter is a part of MATRIX.md below the peers' rows.
type chapter struct {
	title string
	text  string // in Markdown
	timed bool   // has timings, which no two runs share: only its presence is held
	// columns: its tables have a column for each peer.
	columns bool
}

// row begins the row of a peer. Tests of several peers run at once.
func (m *matrix) row(name string) *row {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &row{name: name, notRun: "its test did not end"}
	m.rows = append(slices.DeleteFunc(m.rows, func(r *row) bool { return r.name == name }), r)
	slices.SortFunc(m.rows, func(a, b *row) int { return cmp.Compare(a.name, b.name) })
	return r
}

// chapter adds a chapter, or replaces that of its title. They stand in the order
// of their titles.
func (m *matrix) chapter(c chapter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chapters = append(slices.DeleteFunc(m.chapters, func(o chapter) bool { return o.title == c.title }), c)
	slices.SortFunc(m.chapters, func(a, b chapter) int { return cmp.Compare(a.title, b.title) })
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if *attacks {
		fmt.Print(results.verdicts())
	}
	if everything() && (*write || code == 0) {
		results.addFaults()
		if err := errors.Join(
			results.settle("MATRIX.md", filepath.Join("..", "..", "README.md"), *write),
			results.settleObserved(observedFile, *write),
			results.settleVerdicts(verdictsFile, *write),
		); err != nil {
			fmt.Fprintln(os.Stderr, "matrix:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// everything says whether no filter of go test leaves cells out.
func everything() bool {
	for _, filter := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(filter).Value.String() != "" {
			return false
		}
	}
	return true
}

// summaryBlock is where README.md has the summary.
var summaryBlock = regexp.MustCompile(`(?s)(<!-- matrix -->\n).*?(<!-- /matrix -->)`)

// settle writes what this run found into the files table and readme, or holds what
// stands there against it.
func (m *matrix) settle(table, readme string, write bool) error {
	const command = "go test -tags interop ./examples/interop -write"
	haveTable, err := os.ReadFile(table)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	front, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	haveSummary := summaryBlock.Find(front)
	if haveSummary == nil {
		return fmt.Errorf("%s has no <!-- matrix --> block", readme)
	}
	wantSummary := slices.Concat([]byte("<!-- matrix -->\n"), m.summary(), []byte("<!-- /matrix -->"))
	if write {
		front = bytes.Replace(front, haveSummary, wantSummary, 1)
		return errors.Join(os.WriteFile(table, m.page(time.Now()), 0o644), os.WriteFile(readme, front, 0o644))
	}
	for _, r := range m.rows {
		if r.notRun != "" {
			fmt.Printf("matrix: %s is not compared: %s%s\n", r.name, notRun, r.notRun)
		}
	}
	for _, f := range []struct {
		name       string
		have, want []byte
		part       *regexp.Regexp
	}{
		{table, haveTable, m.page(time.Now()), regexp.MustCompile(`(?m)^## (.*)$`)},
		{readme, haveSummary, wantSummary, regexp.MustCompile(`(?m)^\| (\S+) \|`)},
	} {
		if err := m.same(f.have, f.want, f.part); err != nil {
			return fmt.Errorf("%s: %w: %s", f.name, err, command)
		}
	}
	return nil
}

// same compares two texts part by part. Dates and timings do not count, nor do
// the rows of peers that did not run here or that may be missing.
func (m *matrix) same(have, want []byte, part *regexp.Regexp) error {
	a, b := parts(have, part), parts(want, part)
	var missing []string
	for _, r := range m.rows {
		if r.notRun != "" || r.name == mayMiss && strings.Contains(a[r.name], notRun) {
			missing = append(missing, r.name)
			for _, title := range []string{r.name, glanceTitle} {
				delete(a, title)
				delete(b, title)
			}
		}
	}
	for _, c := range m.chapters {
		if text, ok := a[c.title]; ok && c.columns {
			a[c.title], b[c.title] = withoutColumns(text, missing), withoutColumns(b[c.title], missing)
		}
		if _, ok := a[c.title]; ok && c.timed {
			delete(a, c.title)
			delete(b, c.title)
		}
	}
	var errs []error
	for _, title := range slices.Sorted(maps.Keys(b)) {
		if a[title] != b[title] {
			errs = append(errs, fmt.Errorf("part %q is not what this run made", title))
		}
		delete(a, title)
	}
	for _, title := range slices.Sorted(maps.Keys(a)) {
		errs = append(errs, fmt.Errorf("part %q is not of this run", title))
	}
	return errors.Join(errs...)
}

// parts cuts a text where it has a heading: the parts by their titles, that above
// the first by "". The date is left out.
func parts(text []byte, heading *regexp.Regexp) map[string]string {
	text = regexp.MustCompile(`Made on .*\n`).ReplaceAll(text, nil)
	all, title, begin := map[string]string{}, "", 0
	for _, at := range heading.FindAllSubmatchIndex(text, -1) {
		all[title] = strings.TrimSpace(string(text[begin:at[0]]))
		title, begin = string(text[at[2]:at[3]]), at[0]
	}
	all[title] = strings.TrimSpace(string(text[begin:]))
	return all
}
