package doctor

// Peer is a library or agent of others that refuses a message.
type Peer struct {
	Name string `json:"name"` // its folder's name under examples/interop/peers, where it has one
	// When narrows it down; empty: always.
	When   string `json:"when,omitempty"`
	Source Source `json:"source"`
}

// Source is how it is known that a peer refuses something.
type Source string

// Sources.
const (
	// Reported: from the peer's source or its issue threads.
	Reported Source = "reported"
	// Observed: a live run sent it and the peer refused.
	Observed Source = "observed"
)

// claim is that a peer refuses what a rule is about.
type claim struct {
	code string
	Peer
}

// claims is data and nothing else, one line a rule and peer, so that a live run
// can confirm each and write the list anew.
func claims() []claim {
	return []claim{
		{"apv-missing", Peer{"didcomm-python", "", Reported}},
		{"apv-missing", Peer{"didcomm-rust", "", Reported}},
		{"apv-missing", Peer{"didcomm-node", "", Reported}},
		{"apv-missing", Peer{"didcomm-jvm", "", Reported}},
		{"apv-mismatch", Peer{"didcomm-python", "", Reported}},
		{"apv-mismatch", Peer{"didcomm-rust", "", Reported}},
		{"apv-mismatch", Peer{"didcomm-node", "", Reported}},
		{"apv-mismatch", Peer{"didcomm-jvm", "", Reported}},
		{"apu-missing", Peer{"didcomm-python", "", Reported}},
		{"apu-missing", Peer{"didcomm-rust", "", Reported}},
		{"apu-missing", Peer{"didcomm-node", "", Reported}},
		{"apu-missing", Peer{"didcomm-jvm", "", Reported}},
		{"envelope-typ", Peer{"veramo", "typ is missing", Reported}},
		{"enc-optional", Peer{"affinidi", "", Reported}},
		{"epk-short-coordinate", Peer{"affinidi", "", Reported}},
		{"epk-short-coordinate", Peer{"didcomm-rust", "", Reported}},
		{"epk-short-coordinate", Peer{"didcomm-node", "", Reported}},
		{"mixed-dids", Peer{"didcomm-rust", "", Reported}},
		{"mixed-dids", Peer{"didcomm-node", "", Reported}},
		{"recipients-unsorted", Peer{"didcomm-messaging", "apv is of the sorted kids", Reported}},
		{"es256k-high-s", Peer{"affinidi", "", Reported}},
		{"es256k-high-s", Peer{"didcomm-rust", "", Reported}},
		{"es256k-high-s", Peer{"didcomm-node", "", Reported}},
		{"kid-protected", Peer{"didcomm-python", "", Reported}},
		{"kid-protected", Peer{"didcomm-rust", "", Reported}},
		{"kid-protected", Peer{"didcomm-node", "", Reported}},
		{"kid-protected", Peer{"didcomm-jvm", "", Reported}},
		{"kid-twice", Peer{"didcomm-jvm", "", Reported}},
		{"kid-unprotected", Peer{"veramo", "", Reported}},
		{"attachment-no-id", Peer{"didcomm-jvm", "", Reported}},
		{"forward-attachments", Peer{"didcomm-rust", "reads the first alone", Reported}},
		{"forward-attachments", Peer{"didcomm-node", "reads the first alone", Reported}},
		{"forward-not-json", Peer{"didcomm-rust", "", Reported}},
		{"forward-not-json", Peer{"didcomm-node", "", Reported}},
	}
}
