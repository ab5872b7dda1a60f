package doctor

// Peer is a library of others that was sent a message with a fault, while it
// opens the same without it, and refused. A run of examples/interop writes the
// list; a rule that no peer was seen to refuse names none.
type Peer struct {
	Name    string `json:"name"`    // of its folder under examples/interop/peers
	Version string `json:"version"` // the library's name and version
	// When says which of the things that the rule is about it refused; empty:
	// all that it was sent.
	When  string `json:"when,omitempty"`
	Words string `json:"words"` // what it said
}

// observation is that a peer refused what a rule is about.
type observation struct {
	rule string
	Peer
}

// refusers are the peers that refused what a rule is about.
func refusers(code string) []Peer {
	var peers []Peer
	for _, o := range observed() {
		if o.rule == code {
			peers = append(peers, o.Peer)
		}
	}
	return peers
}
