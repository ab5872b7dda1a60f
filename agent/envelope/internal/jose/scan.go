package jose

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Names yields the member names of the object that data holds, quotes off and
// escapes as they stand, in their order. It does not validate: on text that is
// not JSON it ends somewhere, with names that mean nothing.
func Names(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		depth := 0
		for i := 0; i < len(data); i++ {
			switch data[i] {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			case '"':
				start := i + 1
				i = stringEnd(data, i)
				if depth != 1 || i >= len(data) {
					continue
				}
				rest := bytes.TrimLeft(data[i+1:], " \t\r\n")
				if len(rest) > 0 && rest[0] == ':' && !yield(data[start:i]) {
					return
				}
			}
		}
	}
}

// stringEnd returns the index of the quote that ends the string whose first
// quote is at i, or len(data).
func stringEnd(data []byte, i int) int {
	for i++; ; i++ {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return len(data)
		}
		i += n
		back := i
		for data[back-1] == '\\' {
			back--
		}
		if (i-back)%2 == 0 {
			return i
		}
	}
}

// plain returns how many bytes data begins with that stand for themselves within
// a JSON string: ASCII but for controls, quotes and backslashes. It looks at
// eight at a time.
func plain(data []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(data); i += 8 {
		x := binary.LittleEndian.Uint64(data[i:])
		quote, backslash := x^ones*'"', x^ones*'\\'
		// Each term has the high bit of a byte that is less than a space, no
		// ASCII, zero; a borrow can add bits only above one of these.
		if (x-ones*' '|x|(quote-ones)&^quote|(backslash-ones)&^backslash)&high != 0 {
			break
		}
	}
	for ; i < len(data); i++ {
		if b := data[i]; b < ' ' || b >= 0x80 || b == '"' || b == '\\' {
			break
		}
	}
	return i
}
