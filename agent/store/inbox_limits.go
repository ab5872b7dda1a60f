package store

// InboxConfig has the limits of an inbox. Fields of 0 or less take the defaults. Pending
// messages are those that wait or are leased. Settled messages are those that are done or
// buried. A party is a peer, or all strangers together: the peers of messages of
// ClassStranger.
type InboxConfig struct {
	MaxItems int   // pending messages; default 1,000,000 (in memory 10,000)
	MaxBytes int64 // bytes of pending messages; default 4 GiB (in memory 256 MiB)
	// Stranger bounds the pending messages of all strangers together, so that the messages
	// of others always find room in the rest. Default a quarter of MaxItems and of MaxBytes.
	Stranger     Share
	MaxPeerItems int   // pending messages of one peer; default a quarter of MaxItems
	MaxPeerBytes int64 // bytes of pending messages of one peer; default a quarter of MaxBytes
	// MaxRemembered is how many settled messages the inbox remembers at most. Beyond that
	// it forgets the oldest messages of the party that has most above its share. The share
	// of strangers is a sixteenth, that of any other party a quarter. If no party has more
	// than its share, the largest one but the strangers yields. Default 10,000,000 (in
	// memory 65,536).
	MaxRemembered int
	// MaxKept is how many bytes of packets and replies the inbox keeps with settled
	// messages. Beyond that, the oldest messages of the party that has most above its
	// share, which is as for MaxRemembered, lose their packet and their replies, and are
	// still remembered. Default 4 GiB (in memory 64 MiB).
	MaxKept int64
}

// SetDefaults gives the fields of 0 or less their defaults. The arguments are the defaults
// of MaxItems, MaxBytes, MaxRemembered and MaxKept, which differ between back ends.
func (c *InboxConfig) SetDefaults(items int, bytes int64, remembered int, kept int64) {
	orDefault(&c.MaxItems, items)
	orDefault(&c.MaxBytes, bytes)
	c.Stranger.orDefault(c.MaxItems/peerShare, c.MaxBytes/peerShare)
	orDefault(&c.MaxPeerItems, c.MaxItems/peerShare)
	orDefault(&c.MaxPeerBytes, c.MaxBytes/peerShare)
	orDefault(&c.MaxRemembered, remembered)
	orDefault(&c.MaxKept, kept)
}

// PartyShares returns the shares of strangers and of any other party, if limit is for all:
// see [InboxConfig.MaxRemembered].
func PartyShares(limit int64) (strangers, other int64) {
	return max(1, limit/strangerShare), max(1, limit/peerShare)
}
