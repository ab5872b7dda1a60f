package httptransport

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// mediaTypeOld is the media type of encrypted messages before DIDComm v2. Some agents take
// DIDComm v2 messages under this name only, without parameters.
const mediaTypeOld = "application/didcomm-envelope-enc"

const (
	maxKnown    = 1024           // endpoints that are remembered
	knownFor    = 24 * time.Hour // from the first switch on
	maxSwitches = 2              // of an endpoint in that time
)

// mediaTypes remembers the endpoints that have refused a media type of encrypted messages.
// An endpoint costs a limited number of repeated requests a day, whatever it answers.
type mediaTypes struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]*mediaTypeOf // by the hash of the URL, which can be long
}

// mediaTypeOf is what is known of an endpoint.
type mediaTypeOf struct {
	since    time.Time // first switch
	switches int
	old      bool // whether the endpoint gets mediaTypeOld
}

func newMediaTypes() mediaTypes {
	return mediaTypes{known: make(map[[sha256.Size]byte]*mediaTypeOf)}
}

// of returns the media type for an encrypted message to an endpoint.
func (m *mediaTypes) of(url string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.get(sha256.Sum256([]byte(url))); e != nil && e.old {
		return mediaTypeOld
	}
	return transport.MediaTypeEncrypted
}

// refused returns the media type for a second try, after the endpoint has refused a media
// type. It returns "" if the endpoint has switched too often.
func (m *mediaTypes) refused(url, mediaType string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := sha256.Sum256([]byte(url))
	e := m.get(key)
	if e == nil {
		for k := range m.known {
			if len(m.known) < maxKnown {
				break
			}
			delete(m.known, k)
		}
		e = &mediaTypeOf{since: time.Now()}
		m.known[key] = e
	}
	// Another Send can have switched while this one was under way.
	if tried := mediaType == mediaTypeOld; e.old == tried {
		if e.switches == maxSwitches {
			return ""
		}
		e.switches++
		e.old = !tried
	}
	if e.old {
		return mediaTypeOld
	}
	return transport.MediaTypeEncrypted
}

// refusedBoth forgets the old media type of an endpoint that refuses both.
func (m *mediaTypes) refusedBoth(url string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.get(sha256.Sum256([]byte(url))); e != nil {
		e.old = false
	}
}

func (m *mediaTypes) get(key [sha256.Size]byte) *mediaTypeOf {
	e := m.known[key]
	if e != nil && time.Since(e.since) >= knownFor {
		delete(m.known, key)
		return nil
	}
	return e
}
