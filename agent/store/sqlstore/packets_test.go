package sqlstore

import (
	"bytes"
	"fmt"
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
		{Direct: store.Packet{MediaType: "x/y", Data: []byte("data")}, AskAck: true, HidesSender: true},
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

// TestPacketsWithoutKeys: items that were stored before endpoints had routing keys are sent as
// they were.
func TestPacketsWithoutKeys(t *testing.T) {
	direct, wrapped := store.Packet{MediaType: "x/y", Data: []byte("direct")}, store.Packet{MediaType: "x/y", Data: []byte("wrapped")}
	list := func(packets ...store.Packet) []byte {
		data := appendPacket(appendField(nil, proofConfirm), direct)
		for i, p := range packets {
			data = appendPacket(appendField(data, fmt.Sprint("https://", i)), p)
		}
		return data
	}
	for name, tt := range map[string]struct {
		data      []byte
		direct    store.Packet
		endpoints []store.Endpoint
	}{
		"none":    {list(), direct, nil},
		"direct":  {list(store.Packet{}, store.Packet{}), direct, []store.Endpoint{{URI: "https://0"}, {URI: "https://1"}}},
		"both":    {list(wrapped, store.Packet{}), direct, []store.Endpoint{{URI: "https://1"}}},
		"wrapped": {list(wrapped, direct), wrapped, []store.Endpoint{{URI: "https://0"}}},
	} {
		var it store.Item
		if err := decodeItem(tt.data, &it); err != nil || !it.AskAck || !reflect.DeepEqual(it.Direct, tt.direct) || !reflect.DeepEqual(it.Endpoints, tt.endpoints) {
			t.Errorf("%s: %+v, %v", name, it, err)
		}
	}
}
