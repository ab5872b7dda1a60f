package store

// Class says on whose behalf an item is sent, or from whom a message came. Anybody can make
// any number of DIDs, so all strangers together are one class.
type Class string

// The classes. A store takes any other class for ClassStranger.
const (
	ClassOwn      Class = ""         // sent by the owner of the agent
	ClassKnown    Class = "known"    // an answer to a party that the owner knows, or a message of one
	ClassStranger Class = "stranger" // an answer to any other party, or a message of one
)

// Number is the place of the class in Classes.
func (c Class) Number() int {
	switch c {
	case ClassOwn:
		return 0
	case ClassKnown:
		return 1
	default:
		return 2
	}
}

// Classes returns all classes.
func Classes() []Class { return []Class{ClassOwn, ClassKnown, ClassStranger} }
