package credolike

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// mediaType is what the agent sends. It takes it and the one before, as they stand here.
const mediaType = "application/didcomm-envelope-enc"

var mediaTypes = []string{"application/ssi-agent-wire", mediaType}

const maxBytes = 5 << 20

// session is a way back to a peer.
type session interface {
	// reply sends an envelope to the peer. It returns false when the way has ended.
	reply(data []byte) bool
	// end says that no answer will come.
	end()
	// lasts reports whether the way can take more than one envelope.
	lasts() bool
	// open reports whether the way can take an envelope.
	open() bool
}

// response is the session of one HTTP request.
type response struct {
	w         http.ResponseWriter
	mediaType string

	mu   sync.Mutex
	done bool
}

// finish writes the response, if nobody has yet.
func (r *response) finish(status int, mediaType string, body []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return false
	}
	r.done = true
	if mediaType != "" {
		r.w.Header().Set("Content-Type", mediaType+"; charset=utf-8")
	}
	r.w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	r.w.WriteHeader(status)
	_, _ = r.w.Write(body)
	_ = http.NewResponseController(r.w).Flush() // the peer has its answer before the handler ends
	return true
}

func (r *response) reply(data []byte) bool { return r.finish(http.StatusOK, r.mediaType, data) }

func (r *response) lasts() bool { return false }

func (r *response) open() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.done
}

func (r *response) end() { r.finish(http.StatusOK, "", nil) }

func (a *Agent) serveHTTP(w http.ResponseWriter, req *http.Request) {
	if websocket.IsWebSocketUpgrade(req) {
		a.serveSocket(w, req)
		return
	}
	given := req.Header.Get("Content-Type")
	r := &response{w: w, mediaType: given}
	switch {
	case req.Method != http.MethodPost || req.URL.Path != "/":
		r.finish(http.StatusNotFound, "text/html", nil)
		return
	case given != mediaTypes[0] && given != mediaTypes[1]:
		r.finish(http.StatusUnsupportedMediaType, "text/html", []byte("want "+strings.Join(mediaTypes, ", ")))
		return
	}
	late := time.After(a.cfg.Delay)
	data, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBytes))
	if err != nil || !json.Valid(data) {
		r.finish(http.StatusInternalServerError, "text/html", []byte("not JSON"))
		return
	}
	if err := a.receive(data, r); err != nil {
		a.fail(err)
		select {
		case <-late:
		case <-req.Context().Done():
		case <-a.ctx.Done():
		}
		r.finish(http.StatusInternalServerError, "text/html", []byte("the message was not processed"))
		return
	}
	r.end()
}

// socket is a WebSocket, opened by either side.
type socket struct {
	conn  *websocket.Conn
	frame int           // the type of the frames that it writes
	ended chan struct{} // closed when nothing comes in any more

	mu sync.Mutex // held while writing
}

func (s *socket) reply(data []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.WriteMessage(s.frame, data) == nil
}

// end does nothing: a WebSocket stays open.
func (s *socket) end() {}

func (s *socket) lasts() bool { return true }

func (s *socket) open() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (a *Agent) serveSocket(w http.ResponseWriter, req *http.Request) {
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, req, nil)
	if err != nil {
		a.fail(err)
		return
	}
	s := &socket{conn: conn, frame: websocket.TextMessage, ended: make(chan struct{})}
	a.read(s, s)
}

// read begins to receive what comes in on a socket. back is the way of the answers, nil for
// the endpoint of the peer.
func (a *Agent) read(s *socket, back session) {
	stop := context.AfterFunc(a.ctx, func() { _ = s.conn.Close() })
	a.begin(func() {
		defer stop()
		defer close(s.ended)
		defer s.conn.Close()
		s.conn.SetReadLimit(maxBytes)
		for {
			_, data, err := s.conn.ReadMessage()
			if err != nil {
				return
			}
			if err := a.receive(data, back); err != nil {
				a.fail(err) // the peer is told nothing
			}
		}
	})
}

// post sends an envelope to an endpoint, and takes what comes back.
func (a *Agent) post(ctx context.Context, uri string, data []byte) error {
	if strings.HasPrefix(uri, "ws") {
		return a.write(ctx, uri, data)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, uri, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes))
	if err != nil {
		return err
	}
	if len(body) > 0 && json.Valid(body) {
		if err := a.receive(body, nil); err != nil {
			a.fail(err)
		}
	}
	return nil // Credo does not look at the status
}

// write sends an envelope by a WebSocket, in a binary frame.
func (a *Agent) write(ctx context.Context, uri string, data []byte) error {
	a.dialing.Lock()
	defer a.dialing.Unlock()
	if s, ok := a.sockets[uri]; ok && s.reply(data) {
		return nil
	}
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, uri, nil)
	if err != nil {
		return err
	}
	s := &socket{conn: conn, frame: websocket.BinaryMessage, ended: make(chan struct{})}
	a.sockets[uri] = s
	a.read(s, nil)
	if !s.reply(data) {
		return fmt.Errorf("write to %s", uri)
	}
	return nil
}
