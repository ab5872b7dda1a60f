package httptransport_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

const (
	registered = transport.MediaTypeEncrypted
	older      = "application/didcomm-envelope-enc"
)

// A typed is a server that records media types.
type typed struct {
	status func(path, mediaType string) int

	mu  sync.Mutex
	got []string
}

func (s *typed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, r.Header.Get("Content-Type"))
	status := s.status(r.URL.Path, r.Header.Get("Content-Type"))
	if status == http.StatusTemporaryRedirect {
		w.Header().Set("Location", "/end")
	}
	w.WriteHeader(status)
}

// requests returns the media types of the requests since the last call.
func (s *typed) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

// only answers like an agent that takes one media type.
func only(want string) func(string, string) int {
	return func(_, got string) int {
		if got != want {
			return http.StatusUnsupportedMediaType
		}
		return http.StatusOK
	}
}

// always answers each request with the next status, and the last one again and again.
func always(statuses ...int) func(string, string) int {
	return func(string, string) int {
		status := statuses[0]
		if len(statuses) > 1 {
			statuses = statuses[1:]
		}
		return status
	}
}

func TestOlderMediaType(t *testing.T) {
	type step struct {
		wait time.Duration // before the Send
		want []string      // media types of the requests of the Send
		fail bool
	}
	for _, c := range []struct {
		name   string
		status func(path, mediaType string) int
		packet transport.Packet
		path   string
		steps  []step
	}{
		{name: "takes both", status: always(202), steps: []step{{want: []string{registered}}, {want: []string{registered}}}},
		{name: "takes the older", status: only(older), steps: []step{
			{want: []string{registered, older}},
			{want: []string{older}},
			{wait: 24*time.Hour - time.Second, want: []string{older}},
			{wait: time.Second, want: []string{registered, older}},
			{want: []string{older}},
		}},
		{name: "takes the older, behind a redirect", path: "/moved", status: func(path, mediaType string) int {
			if path == "/moved" {
				return http.StatusTemporaryRedirect
			}
			return only(older)(path, mediaType)
		}, steps: []step{
			{want: []string{registered, registered, older, older}},
			{want: []string{older, older}},
		}},
		{name: "takes the older, but not this message", status: func(_, mediaType string) int {
			if mediaType == older {
				return 500
			}
			return 415
		}, steps: []step{
			{want: []string{registered, older}, fail: true},
			{want: []string{older}, fail: true},
		}},
		{name: "is updated", status: always(415, 200, 415, 200, 200), steps: []step{
			{want: []string{registered, older}},
			{want: []string{older, registered}},
			{want: []string{registered}},
		}},
		{name: "takes none", status: always(415), steps: []step{
			{want: []string{registered, older}, fail: true},
			{want: []string{registered, older}, fail: true},
			{want: []string{registered}, fail: true},
			{wait: 24 * time.Hour, want: []string{registered, older}, fail: true},
		}},
		{name: "takes the older, but once not", status: always(415, 200, 415, 415, 200), steps: []step{
			{want: []string{registered, older}},
			{want: []string{older, registered}, fail: true},
			{want: []string{older}},
		}},
		{name: "alternates", status: always(415, 500, 415, 500, 415, 500, 415, 500), steps: []step{
			{want: []string{registered, older}, fail: true},
			{want: []string{older, registered}, fail: true},
			{want: []string{registered}, fail: true},
			{want: []string{registered}, fail: true},
			{want: []string{registered}, fail: true},
		}},
		{name: "signed", packet: transport.Packet{MediaType: transport.MediaTypeSigned, Data: []byte("x")}, status: only(older), steps: []step{
			{want: []string{transport.MediaTypeSigned}, fail: true},
			{want: []string{transport.MediaTypeSigned}, fail: true},
		}},
		{name: "plain", packet: transport.Packet{MediaType: transport.MediaTypePlain, Data: []byte("x")}, status: only(older), steps: []step{
			{want: []string{transport.MediaTypePlain}, fail: true},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &typed{status: c.status}
				client := newClient(t, httptransport.ClientConfig{Dial: inBubble(t, s).Dial})
				if c.packet.Data == nil {
					c.packet = packet("x")
				}
				for i, step := range c.steps {
					time.Sleep(step.wait)
					fragment := fmt.Sprintf("#%d", i) // is no part of the endpoint
					if err := client.Send(t.Context(), "http://peer"+c.path+fragment, c.packet); (err != nil) != step.fail {
						t.Errorf("send %d: %v", i, err)
					}
					if got := s.requests(); !slices.Equal(got, step.want) {
						t.Errorf("send %d: got %q, want %q", i, got, step.want)
					}
				}
			})
		})
	}
}

// The error of an endpoint that takes neither media type is that of status 415.
func TestNoMediaTypeTaken(t *testing.T) {
	srv := httptest.NewServer(&typed{status: always(415)})
	t.Cleanup(srv.Close)
	client := newClient(t, httptransport.ClientConfig{})
	for range 3 {
		err := client.Send(t.Context(), srv.URL, packet("x"))
		if e := mustFail(t, err, false); !errors.Is(err, transport.ErrMediaType) || !e.Answered {
			t.Errorf("got %v, want ErrMediaType, answered", err)
		}
	}
}

// A recipient with many endpoints gets few second tries.
func TestOlderMediaTypeOfEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &typed{status: func(_, mediaType string) int {
			if mediaType == older {
				return http.StatusInternalServerError
			}
			return http.StatusUnsupportedMediaType
		}}
		client := newClient(t, httptransport.ClientConfig{Dial: inBubble(t, s).Dial})
		for i := range 9 {
			if err := client.Send(t.Context(), fmt.Sprintf("http://peer/%d", i), packet("x")); err == nil {
				t.Error("no error")
			}
		}
		if got := len(s.requests()); got != 11 {
			t.Errorf("%d requests, want 11", got)
		}
		if err := client.Send(t.Context(), "http://peer/9", packet("y")); err == nil {
			t.Error("no error")
		}
		if got := len(s.requests()); got != 2 {
			t.Errorf("%d requests with another packet, want 2", got)
		}
	})
}

// Messages that are under way when the endpoint refuses the media type are all taken.
func TestOlderMediaTypeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		s := &typed{status: only(older)}
		client := newClient(t, httptransport.ClientConfig{Dial: inBubble(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-gate
			s.ServeHTTP(w, r)
		})).Dial})
		var sends sync.WaitGroup
		for i := range 5 {
			sends.Go(func() {
				if err := client.Send(t.Context(), "http://peer", packet(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(gate)
		sends.Wait()
		if got := len(s.requests()); got != 10 {
			t.Errorf("%d requests, want 10", got)
		}
	})
}

// Both requests of a Send have one Timeout.
func TestOlderMediaTypeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, httptransport.ClientConfig{Timeout: 5 * time.Second, Dial: inBubble(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-time.After(3 * time.Second):
			case <-r.Context().Done():
			}
			w.WriteHeader(http.StatusUnsupportedMediaType)
		})).Dial})
		start := time.Now()
		mustFail(t, client.Send(t.Context(), "http://peer", packet("x")), true)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("failed after %v", d)
		}
	})
}

// The memory of endpoints has a limit.
func TestMediaTypesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 1024
		s := &typed{status: only(older)}
		client := newClient(t, httptransport.ClientConfig{Dial: inBubble(t, s).Dial})
		send := func() {
			for i := range limit + 100 {
				if err := client.Send(t.Context(), fmt.Sprintf("http://peer/%d", i), packet(fmt.Sprint(i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		send()
		s.requests()
		s.status = always(202)
		send()
		known := 0
		for _, mediaType := range s.requests() {
			if mediaType == older {
				known++
			}
		}
		if known != limit {
			t.Errorf("%d endpoints are remembered, want %d", known, limit)
		}
	})
}
