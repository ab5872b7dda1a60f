package sqlstore

import (
	"encoding/binary"
	"errors"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Packets stand in one column: fields one after the other, each behind its
// length as a uvarint. A route is three fields, a packet two.

var errPackets = errors.New("sqlstore: broken packets in the database")

func appendField[T string | []byte](b []byte, field T) []byte {
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}

func appendPacket(b []byte, p store.Packet) []byte {
	return appendField(appendField(b, p.MediaType), p.Data)
}

// fields reads what appendField wrote. After a fault it returns empty fields.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) next() []byte {
	n, k := binary.Uvarint(f.rest)
	if f.err != nil || k <= 0 || n > uint64(len(f.rest)-k) {
		f.rest, f.err = nil, errPackets
		return nil
	}
	field := f.rest[k : k+int(n) : k+int(n)]
	f.rest = f.rest[k+int(n):]
	if n == 0 {
		return nil
	}
	return field
}

func (f *fields) packet() store.Packet {
	return store.Packet{MediaType: string(f.next()), Data: f.next()}
}

const (
	proofConfirm = "confirm"
	proofReceipt = "receipt"
)

func encodeItemNames(it *store.Item) []byte {
	return encodeOwned(it.Owner, it.ID, it.MessageID, it.Thread, it.From, it.To, it.Lane)
}

func decodeItemNames(names []byte, it *store.Item) error {
	return decodeOwned(names, &it.Owner, &it.ID, &it.MessageID, &it.Thread, &it.From, &it.To, &it.Lane)
}

// encodeItem is what only the agent looks at of an outbox item: Confirm or
// Receipt, Direct, then the routes.
func encodeItem(it *store.Item) []byte {
	b := make([]byte, 0, int(it.Bytes())+64*(1+len(it.Endpoints)))
	proof := ""
	switch {
	case it.AskAck:
		proof = proofConfirm
	case it.NeedsReceipt:
		proof = proofReceipt
	}
	b = appendPacket(appendField(b, proof), it.Direct)
	for _, r := range it.Endpoints {
		b = appendPacket(appendField(b, r.URI), r.Packet)
	}
	return b
}

// decodeItem fills what encodeItem wrote.
func decodeItem(data []byte, it *store.Item) error {
	f := fields{rest: data}
	proof := string(f.next())
	it.AskAck, it.NeedsReceipt = proof == proofConfirm, proof == proofReceipt
	it.Direct = f.packet()
	for len(f.rest) > 0 {
		it.Endpoints = append(it.Endpoints, store.Endpoint{URI: string(f.next()), Packet: f.packet()})
	}
	return f.err
}

func encodePackets(packets []store.Packet) []byte {
	var b []byte
	for _, p := range packets {
		b = appendPacket(b, p)
	}
	return b
}

func decodePackets(data []byte) ([]store.Packet, error) {
	f := fields{rest: data}
	var packets []store.Packet
	for len(f.rest) > 0 {
		packets = append(packets, f.packet())
	}
	return packets, f.err
}

func encodeNames(names ...string) []byte {
	var b []byte
	for _, name := range names {
		b = appendField(b, name)
	}
	return b
}

// decodeNames reads as many names as there are pointers.
func decodeNames(data []byte, names ...*string) error {
	f := fields{rest: data}
	for _, name := range names {
		*name = string(f.next())
	}
	return f.err
}

// encodeOwned is encodeNames, with an owner behind the names if there is one.
func encodeOwned(owner string, names ...string) []byte {
	b := encodeNames(names...)
	if owner != "" {
		b = appendField(b, owner)
	}
	return b
}

// decodeOwned reads what encodeOwned wrote.
func decodeOwned(data []byte, owner *string, names ...*string) error {
	f := fields{rest: data}
	for _, name := range names {
		*name = string(f.next())
	}
	if len(f.rest) > 0 {
		*owner = string(f.next())
	}
	return f.err
}

// encodeRecordNames is the names of a record, those of its index last.
func encodeRecordNames(r *store.Record) []byte {
	return encodeNames(append([]string{r.Collection, r.Key}, r.Index...)...)
}

// decodeRecordNames fills what encodeRecordNames wrote.
func decodeRecordNames(names []byte, r *store.Record) error {
	f := fields{rest: names}
	r.Collection, r.Key = string(f.next()), string(f.next())
	for len(f.rest) > 0 {
		r.Index = append(r.Index, string(f.next()))
	}
	return f.err
}
