package jose

import (
	"bytes"
	"iter"
)

// TooDeep tells whether JSON text nests more than limit arrays and objects,
// without parsing it.
func TooDeep(data []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		case '"':
			i = stringEnd(data, i)
		}
	}
	return false
}

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
