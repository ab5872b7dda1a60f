package doctor

// Peer is another DIDComm library that was seen to refuse messages which break a rule. The
// library opens the same messages if they do not break the rule.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version"` // name and version of the library
	// When says in which cases the library refuses messages that break the rule. It is empty
	// if the library refused all such messages.
	When  string `json:"when,omitempty"`
	Words string `json:"words"` // error text of the library
}

// Observation says that a library refused messages which break a rule.
type Observation struct {
	Rule string // code of the rule
	Peer
}

// AddPeers adds to each finding the libraries that were seen to refuse such a message.
// Package examples/interop has a list of observations.
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
