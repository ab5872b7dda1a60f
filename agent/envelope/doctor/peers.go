package doctor

// Peer is a library of others that refused a message with a fault, and opens the
// same message without the fault.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version"` // the library's name and version
	// When says which of the things that the rule is about the library refused;
	// empty: all that it was sent.
	When  string `json:"when,omitempty"`
	Words string `json:"words"` // what it said
}

// Observation is that a peer refused what a rule is about.
type Observation struct {
	Rule string // the code of the rule
	Peer
}

// AddPeers notes at each finding who was seen to refuse such a message. This
// package knows no library by itself: package interop under examples has a list.
func (r *Report) AddPeers(observed []Observation) {
	for i := range r.Findings {
		f := &r.Findings[i]
		for _, o := range observed {
			if o.Rule == f.Code {
				f.Peers = append(f.Peers, o.Peer)
			}
		}
	}
}
