// Package qrcode draws the QR code of a text, for a terminal, as PNG and as SVG. Call [New].
package qrcode

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// margin is the white border of a code, in modules (ISO/IEC 18004, quiet zone).
const margin = 4

// dense is the number of modules on a side above which the cameras of phones begin to fail, and
// a terminal of 110 columns has no room.
const dense = 101

// Code is a QR code.
type Code struct{ code *qr.Code }

// New returns the QR code of a text, with the lowest level of error correction, so that the code
// has few modules. It returns an error if the text has more than 2953 bytes.
func New(text string) (*Code, error) {
	c, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, fmt.Errorf("a text of %d bytes is too long for a QR code", len(text))
	}
	return &Code{c}, nil
}

// Dense reports whether some devices cannot read the code from a screen.
func (c *Code) Dense() bool { return c.code.Size > dense }

// PNG returns the code as an image in PNG.
func (c *Code) PNG() []byte { return c.code.PNG() }

// SVG returns the code as an SVG element.
func (c *Code) SVG() string {
	var b strings.Builder
	side := c.code.Size + 2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%dv%dh-%dz"/><path d="`, side, side, 4*side, 4*side, side, side, side)
	for y := range c.code.Size {
		for x := 0; x < c.code.Size; x++ {
			from := x
			for c.code.Black(x, y) {
				x++
			}
			if n := x - from; n > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", from+margin, y+margin, n, n)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String()
}

// Terminal returns the code as lines for a terminal of any colors. A character has two modules,
// one above the other.
func (c *Code) Terminal() string {
	var b strings.Builder
	for y := -margin; y < c.code.Size+margin; y += 2 {
		b.WriteString("\x1b[97;40m") // white on black
		for x := -margin; x < c.code.Size+margin; x++ {
			switch above, below := c.code.Black(x, y), c.code.Black(x, y+1) || y+1 >= c.code.Size+margin; {
			case above && below:
				b.WriteRune(' ')
			case above:
				b.WriteRune('▄')
			case below:
				b.WriteRune('▀')
			default:
				b.WriteRune('█')
			}
		}
		b.WriteString("\x1b[0m\n")
	}
	return b.String()
}
