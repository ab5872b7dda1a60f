package qrcode_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/qrcode"
)

// grid reads the modules of a code from its PNG, without the border.
func grid(t *testing.T, c *qrcode.Code) [][]bool {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(c.PNG()))
	if err != nil {
		t.Fatal(err)
	}
	const scale = 8
	side := img.Bounds().Dx() / scale
	all := make([][]bool, side)
	for y := range all {
		for x := range side {
			r, _, _, _ := img.At(x*scale+scale/2, y*scale+scale/2).RGBA()
			all[y] = append(all[y], r < 0x8000)
		}
	}
	return all
}

// All drawings have the same modules.
func TestDrawings(t *testing.T) {
	for _, text := range []string{"https://example.com?_oob=e30", strings.Repeat("0123456789abcdef", 40)} {
		c, err := qrcode.New(text)
		if err != nil {
			t.Fatal(err)
		}
		want := grid(t, c)
		lines := strings.Split(strings.TrimSuffix(c.Terminal(), "\n"), "\n")
		if len(lines) != (len(want)+1)/2 {
			t.Fatalf("%d lines for %d modules", len(lines), len(want))
		}
		for i, line := range lines {
			line = strings.TrimSuffix(strings.TrimPrefix(line, "\x1b[97;40m"), "\x1b[0m")
			for x, r := range []rune(line) {
				above, below := r == ' ' || r == '▄', r == ' ' || r == '▀'
				if above != want[2*i][x] || 2*i+1 < len(want) && below != want[2*i+1][x] {
					t.Fatalf("module %d of line %d is %q", x, i, r)
				}
			}
		}
		// The path has a rectangle of the height 1 for each run of dark modules.
		dark := 0
		for _, row := range want {
			for x, black := range row {
				if black && !row[x-1] {
					dark++
				}
			}
		}
		svg := c.SVG()
		if got := strings.Count(svg, "M") - 1; got != dark {
			t.Errorf("%d rectangles in the SVG, want %d", got, dark)
		}
		for dec := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDense(t *testing.T) {
	for n, want := range map[int]bool{10: false, 800: false, 1200: true, 2953: true} {
		if c, err := qrcode.New(strings.Repeat("a", n)); err != nil || c.Dense() != want {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if c, err := qrcode.New(strings.Repeat("a", 2954)); c != nil || err == nil {
		t.Error("a QR code of 2954 bytes")
	}
}
