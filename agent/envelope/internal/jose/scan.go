package jose

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Names returns an iterator over the member names of the JSON object in data, in their order,
// without quotes and with escapes. It does not validate: if data is not JSON, the names have
// no meaning.
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

// stringEnd returns the index of the closing quote of the string whose opening quote is at i,
// or len(data) if there is none.
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

// plain returns the number of bytes at the start of data that need no escape in a JSON string:
// ASCII without control characters, quotes and backslashes. It looks at eight bytes at a time.
func plain(data []byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(data); i += 8 {
		x := binary.LittleEndian.Uint64(data[i:])
		quote, backslash := x^ones*'"', x^ones*'\\'
		// The terms have the high bit set of each byte that is less than a space, is not
		// ASCII, or is a quote or backslash. A borrow sets wrong bits only above a right
		// one.
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
