package store

// Share bounds how much one party may have in a store at a time. A field of 0 or less sets
// no bound.
type Share struct {
	Items int
	Bytes int64 // of the packets of those items
}

// Allows tells whether s lets a party have that many items, with packets of that many
// bytes in all.
func (s Share) Allows(items int, bytes int64) bool {
	return (s.Items <= 0 || items <= s.Items) && (s.Bytes <= 0 || bytes <= s.Bytes)
}

// Shares are the bounds of one owner in the two stores that have a share for owners: see
// [Received.OwnerShare] and [Item.OwnerShare].
type Shares struct {
	Inbox  Share // messages that wait for their handler
	Outbox Share // messages that wait to be delivered
}
