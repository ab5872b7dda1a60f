package interop_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// excerpted are the layouts of SPEED.md that README.md shows.
var excerpted = []string{
	"signed/EdDSA",
	"anoncrypt/X25519/A256CBC-HS512",
	"authcrypt/X25519",
	"anoncrypt(sign)/X25519/A256CBC-HS512/EdDSA",
	"anoncrypt(authcrypt)/X25519/A256CBC-HS512",
	"anoncrypt/P-256/A256CBC-HS512",
	"authcrypt/P-256",
	"anoncrypt(authcrypt(sign))/P-256/A256CBC-HS512/EdDSA",
}

// excerptBlock is where README.md has the excerpt.
var excerptBlock = regexp.MustCompile(`(?s)<!-- speed -->\n.*?<!-- /speed -->`)

// withExcerpt returns the text of README.md with the figures of the text of
// SPEED.md.
func withExcerpt(readme, speed string) (string, error) {
	pack, unpack, _ := strings.Cut(speed, "\n## unpack\n")
	libraries := figures(pack, "")
	table := fmt.Sprintf("| | %s |\n%s|\n", strings.Join(libraries, " | "), strings.Repeat("|---", 1+len(libraries)))
	for _, layout := range excerpted {
		p, u := figures(pack, layout), figures(unpack, layout)
		if len(p) == 0 || len(p) != len(libraries) || len(u) != len(libraries) {
			return "", fmt.Errorf("SPEED.md: %s has %d and %d figures for %d libraries", layout, len(p), len(u), len(libraries))
		}
		for i := range p {
			if p[i] != "-" || u[i] != "-" {
				p[i] += " / " + u[i]
			}
		}
		table += fmt.Sprintf("| %s | %s |\n", layout, strings.Join(p, " | "))
	}
	have := excerptBlock.FindString(readme)
	if have == "" {
		return "", errors.New("README.md has no <!-- speed --> block")
	}
	return strings.Replace(readme, have, "<!-- speed -->\n"+table+"<!-- /speed -->", 1), nil
}

// figures are the cells of a table's line after the first, which is the layout. The
// layout of the head is "".
func figures(page, layout string) []string {
	for line := range strings.Lines(page) {
		if rest, ok := strings.CutPrefix(line, strings.TrimRight("| "+layout, " ")+" | "); ok {
			return strings.Split(strings.TrimSuffix(strings.TrimSpace(rest), " |"), " | ")
		}
	}
	return nil
}

// README.md has the figures of SPEED.md.
func TestExcerpt(t *testing.T) {
	var texts []string
	for _, name := range []string{"README.md", "SPEED.md"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(data))
	}
	want, err := withExcerpt(texts[0], texts[1])
	if err != nil {
		t.Fatal(err)
	}
	if want != texts[0] {
		t.Errorf("README.md has not the figures of SPEED.md; they are\n%s", excerptBlock.FindString(want))
	}
}
