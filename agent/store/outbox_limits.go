package store

// OutboxConfig has the limits of an outbox. Fields of 0 or less take the defaults. Queued
// items are those that wait or are leased. Buried items count only towards MaxBuried.
type OutboxConfig struct {
	MaxItems int   // queued items; default 1,000,000 (in memory 10,000)
	MaxBytes int64 // bytes of packets of queued items; default 4 GiB (in memory 256 MiB)
	// Known and Stranger bound the queued items of ClassKnown and of ClassStranger, so that
	// items of ClassOwn always find room in the rest. Default of Known: half of MaxItems and
	// of MaxBytes. Default of Stranger: a sixteenth of MaxItems and of MaxBytes, and at most
	// 64 MiB.
	Known, Stranger Share
	MaxPeerItems    int   // queued items of one class for one To; default a quarter of MaxItems
	MaxPeerBytes    int64 // bytes of packets of those items; default a quarter of MaxBytes
	// StrangerPeer bounds the queued items of ClassStranger for one To. Default an eighth
	// of Stranger.
	StrangerPeer Share
	// MaxBuried is how many buried items the outbox keeps. At most half of them are of
	// ClassKnown, and a sixteenth of ClassStranger. Items of ClassOwn take what is left.
	// Beyond that, the oldest buried items of the class are dropped. Default 10,000 (in
	// memory 1,000).
	MaxBuried int
	// PerPeer is how many items of one class for one To are leased at a time, without those
	// that await an acknowledgement. Default 8.
	PerPeer int
	// PerPeerAwaiting is how many items of one class for one To await an acknowledgement at
	// a time: see [Outbox.Await]. Default 1,000.
	PerPeerAwaiting int
}

// Parts of a limit for all, as divisors.
const (
	peerShare         = 4
	knownShare        = 2
	strangerShare     = 16
	strangerPeerShare = 8 // of the share of strangers
)

// strangerBytes is the largest default share of strangers, in bytes.
const strangerBytes = 64 << 20

// SetDefaults gives the fields of 0 or less their defaults. The arguments are the defaults
// of MaxItems, MaxBytes and MaxBuried, which differ between back ends.
func (c *OutboxConfig) SetDefaults(items int, bytes int64, buried int) {
	orDefault(&c.MaxItems, items)
	orDefault(&c.MaxBytes, bytes)
	c.Known.orDefault(c.MaxItems/knownShare, c.MaxBytes/knownShare)
	c.Stranger.orDefault(c.MaxItems/strangerShare, min(c.MaxBytes/strangerShare, strangerBytes))
	orDefault(&c.MaxPeerItems, c.MaxItems/peerShare)
	orDefault(&c.MaxPeerBytes, c.MaxBytes/peerShare)
	c.StrangerPeer.orDefault(c.Stranger.Items/strangerPeerShare, c.Stranger.Bytes/strangerPeerShare)
	orDefault(&c.MaxBuried, buried)
	orDefault(&c.PerPeer, 8)
	orDefault(&c.PerPeerAwaiting, 1000)
}

// Bounds returns the bounds of the queued items of a class: of all, and of those for one To.
func (c *OutboxConfig) Bounds(class Class) (all, peer Share) {
	peer = Share{c.MaxPeerItems, c.MaxPeerBytes}
	switch class {
	case ClassOwn:
		return Share{c.MaxItems, c.MaxBytes}, peer
	case ClassKnown:
		return c.Known, peer
	default:
		return c.Stranger, c.StrangerPeer
	}
}

// Buried returns how many buried items of a class are kept, if others are buried items of
// the other classes.
func (c *OutboxConfig) Buried(class Class, others int) int {
	switch class {
	case ClassOwn:
		return max(1, c.MaxBuried-others)
	case ClassKnown:
		return max(1, c.MaxBuried/knownShare)
	default:
		return max(1, c.MaxBuried/strangerShare)
	}
}

// orDefault sets a limit of 0 or less to its default, which is at least 1.
func orDefault[T int | int64](limit *T, to T) {
	if *limit <= 0 {
		*limit = max(1, to)
	}
}

func (s *Share) orDefault(items int, bytes int64) {
	orDefault(&s.Items, items)
	orDefault(&s.Bytes, bytes)
}
