package sqlstore

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// FuzzPackets decodes any bytes. The result is an error, or a value that stays the same when
// it is encoded and decoded again.
func FuzzPackets(f *testing.F) {
	for _, it := range []store.Item{
		{},
		{Direct: store.Packet{MediaType: "x/y", Data: []byte("data")}, AskAck: true},
		{Endpoints: []store.Endpoint{{RoutingKeys: []string{"", "did:example:m#1"}}, {URI: "https://example.org"}}},
		{Endpoints: []store.Endpoint{{}, {URI: "https://example.org"}}, NeedsReceipt: true, Expires: time.UnixMicro(1e15)},
	} {
		f.Add(encodeItem(&it))
	}
	f.Add(encodePackets([]store.Packet{{}, {MediaType: "x/y", Data: []byte("reply")}}))
	f.Add(encodeNames("id", "", "to"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var it, again store.Item
		if err := decodeItem(data, &it); err == nil {
			if err := decodeItem(encodeItem(&it), &again); err != nil || !reflect.DeepEqual(it, again) {
				t.Errorf("item %+v, then %+v, %v", it, again, err)
			}
		}
		if packets, err := decodePackets(data); err == nil {
			more, err := decodePackets(encodePackets(packets))
			if err != nil || !reflect.DeepEqual(packets, more) {
				t.Errorf("packets %+v, then %+v, %v", packets, more, err)
			}
		}
		var a, b, c string
		if err := decodeOwned(data, &a, &b, &c); err == nil {
			if written := encodeOwned(a, b, c); len(written) > len(data) || len(data) == len(written) && !bytes.Equal(written, data) {
				t.Errorf("owner %q of %q and %q: %x becomes %x", a, b, c, data, written)
			}
		}
		if err := decodeNames(data, &a, &b, &c); err == nil {
			if written := encodeNames(a, b, c); len(written) > len(data) || len(data) == len(written) && !bytes.Equal(written, data) {
				t.Errorf("names %q %q %q are %x, were %x", a, b, c, written, data)
			}
		}
	})
}

// TestOldItem decodes an item of a former version, with a packet for each endpoint.
func TestOldItem(t *testing.T) {
	direct := store.Packet{MediaType: "x/y", Data: []byte("direct")}
	data := appendPacket(appendField(nil, proofConfirm), direct)
	data = appendPacket(appendField(data, "https://one"), direct)
	data = appendPacket(appendField(data, "https://two"), store.Packet{})
	var it store.Item
	want := store.Item{Direct: direct, AskAck: true, Endpoints: []store.Endpoint{{URI: "https://two"}}}
	if err := decodeItem(data, &it); err != nil || !reflect.DeepEqual(it, want) {
		t.Errorf("got  %+v, %v\nwant %+v", it, err, want)
	}
}
