package sqlstore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"github.com/didcomm-go/didcomm/agent/store"
)

// The packets of an entry are in one column, as a list of fields. Each field follows its
// length, a uvarint. A packet is two fields. An endpoint is two fields as well: its address,
// and the list of its routing keys. In lists without keys, which are older, an endpoint is its
// address and a packet.

var errPackets = errors.New("sqlstore: packets or names of an entry cannot be decoded")

func appendField[T string | []byte](b []byte, field T) []byte {
	b = binary.AppendUvarint(b, uint64(len(field)))
	return append(b, field...)
}

func appendPacket(b []byte, p store.Packet) []byte {
	return appendField(appendField(b, p.MediaType), p.Data)
}

// fields reads fields that appendField has written. After an error it returns empty fields.
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
	withKeys     = "+" // ends the first word of a list with keys
	hidesSender  = "-" // before withKeys
)

func encodeItemNames(it *store.Item) []byte {
	return encodeOwned(it.Owner, it.ID, it.MessageID, it.Thread, it.From, it.To, it.Lane)
}

func decodeItemNames(names []byte, it *store.Item) error {
	return decodeOwned(names, &it.Owner, &it.ID, &it.MessageID, &it.Thread, &it.From, &it.To, &it.Lane)
}

// encodeItem encodes the parts of an item that no statement looks at: a word for AskAck or
// NeedsReceipt and a sign for HidesSender, Expires, Direct, then the Endpoints.
func encodeItem(it *store.Item) []byte {
	b := make([]byte, 0, int(it.Bytes())+64*(1+len(it.Endpoints)))
	proof := ""
	switch {
	case it.AskAck:
		proof = proofConfirm
	case it.NeedsReceipt:
		proof = proofReceipt
	}
	if it.HidesSender {
		proof += hidesSender
	}
	b = appendField(b, proof+withKeys)
	b = appendField(b, strconv.FormatInt(toMicros(it.Expires), 10))
	b = appendPacket(b, it.Direct)
	for _, r := range it.Endpoints {
		b = appendField(appendField(b, r.URI), encodeNames(r.RoutingKeys...))
	}
	return b
}

// decodeItem sets the fields of an item that encodeItem has written.
func decodeItem(data []byte, it *store.Item) error {
	f := fields{rest: data}
	proof, hasKeys := strings.CutSuffix(string(f.next()), withKeys)
	proof, it.HidesSender = strings.CutSuffix(proof, hidesSender)
	it.AskAck, it.NeedsReceipt = proof == proofConfirm, proof == proofReceipt
	if !hasKeys {
		return decodeOld(f, it)
	}
	expires, err := strconv.ParseInt(string(f.next()), 10, 64)
	if err != nil {
		return errPackets
	}
	it.Expires = fromMicros(expires)
	it.Direct = f.packet()
	for len(f.rest) > 0 {
		e, keys := store.Endpoint{URI: string(f.next())}, fields{rest: f.next()}
		for len(keys.rest) > 0 {
			e.RoutingKeys = append(e.RoutingKeys, string(keys.next()))
		}
		f.err = cmp.Or(f.err, keys.err)
		it.Endpoints = append(it.Endpoints, e)
	}
	return f.err
}

// decodeOld sets the Direct and the Endpoints of an item from the rest of a list without keys.
// An endpoint could have a packet of its own, wrapped for a mediator. Such an endpoint is used
// only if there is no other, with its packet as Direct.
func decodeOld(f fields, it *store.Item) error {
	it.Direct = f.packet()
	var uri string
	var wrapped store.Packet
	for len(f.rest) > 0 {
		to, packet := string(f.next()), f.packet()
		switch {
		case len(packet.Data) == 0:
			it.Endpoints = append(it.Endpoints, store.Endpoint{URI: to})
		case len(wrapped.Data) == 0:
			uri, wrapped = to, packet
		}
	}
	if len(it.Endpoints) == 0 && len(wrapped.Data) > 0 {
		it.Direct, it.Endpoints = wrapped, []store.Endpoint{{URI: uri}}
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

// encodeOwned is encodeNames, with the owner after the names if there is one.
func encodeOwned(owner string, names ...string) []byte {
	b := encodeNames(names...)
	if owner != "" {
		b = appendField(b, owner)
	}
	return b
}

// decodeOwned reads names that encodeOwned has written.
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

// encodeRecordNames encodes the collection, the key and the index names of a record.
func encodeRecordNames(r *store.Record) []byte {
	return encodeNames(append([]string{r.Collection, r.Key}, r.Index...)...)
}

// decodeRecordNames sets the names of a record that encodeRecordNames has written.
func decodeRecordNames(names []byte, r *store.Record) error {
	f := fields{rest: names}
	r.Collection, r.Key = string(f.next()), string(f.next())
	for len(f.rest) > 0 {
		r.Index = append(r.Index, string(f.next()))
	}
	return f.err
}
