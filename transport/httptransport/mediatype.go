package httptransport

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// mediaTypeOld is the media type of encrypted messages before DIDComm v2. Some agents take
// messages of DIDComm v2 only under this name, without parameters.
const mediaTypeOld = "application/didcomm-envelope-enc"

const (
	maxKnown    = 1024           // endpoints that are remembered, and packets
	knownFor    = 24 * time.Hour // from the first refusal on
	maxSwitches = 2              // of an endpoint in that time, and second tries of a packet
)

// mediaTypes remembers the endpoints that have refused a media type of encrypted messages.
// Neither an endpoint nor the recipient of a packet, who can have many endpoints, gets more
// than a few second tries a day, whatever the answers are.
type mediaTypes struct {
	mu                 sync.Mutex
	endpoints, packets memory
}

// memory has a limited number of entries, by the hash of a URL or of a packet.
type memory map[[sha256.Size]byte]*entry

type entry struct {
	since    time.Time // the first refusal
	switches int
	old      bool // whether the endpoint gets mediaTypeOld
}

func newMediaTypes() *mediaTypes { return &mediaTypes{endpoints: memory{}, packets: memory{}} }

// of returns the media type for an encrypted packet to an endpoint.
func (m *mediaTypes) of(url string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.endpoints.get([]byte(url)); e != nil && e.old {
		return mediaTypeOld
	}
	return transport.MediaTypeEncrypted
}

// refused returns the media type for a second try, after the endpoint has refused a packet
// with a media type. It returns "" if there were too many second tries.
func (m *mediaTypes) refused(url, mediaType string, data []byte) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, p := m.endpoints.add([]byte(url)), m.packets.add(data)
	// Another Send can have switched since this one has begun.
	tried := mediaType == mediaTypeOld
	switches := e.old == tried
	if p.switches == maxSwitches || switches && e.switches == maxSwitches {
		return ""
	}
	p.switches++
	if switches {
		e.switches++
		e.old = !tried
	}
	if e.old {
		return mediaTypeOld
	}
	return transport.MediaTypeEncrypted
}

// refusedBoth gives the endpoint, which has refused both media types for one packet, the one
// again that was tried first.
func (m *mediaTypes) refusedBoth(url, first string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.endpoints.get([]byte(url)); e != nil {
		e.old = first == mediaTypeOld
	}
}

// get returns the entry for a key, or nil.
func (m memory) get(key []byte) *entry {
	e := m[sha256.Sum256(key)]
	if e == nil || time.Since(e.since) >= knownFor {
		return nil
	}
	return e
}

// add returns the entry for a key, which is a new one if there was none. If the memory is
// full, an arbitrary entry makes room.
func (m memory) add(key []byte) *entry {
	if e := m.get(key); e != nil {
		return e
	}
	for k := range m {
		if len(m) < maxKnown {
			break
		}
		delete(m, k)
	}
	e := &entry{since: time.Now()}
	m[sha256.Sum256(key)] = e
	return e
}
