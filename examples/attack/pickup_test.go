//go:build attack && linux

package attack_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/agent/message"
)

// socket is a WebSocket of a phone.
type socket struct {
	*phone
	c *websocket.Conn
}

func (p *phone) dial(ip string) *socket {
	p.t.Helper()
	d := websocket.Dialer{NetDial: func(_, to string) (net.Conn, error) {
		if c := dialFrom(ip, to); c != nil {
			return c, nil
		}
		return nil, net.ErrClosed
	}}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(p.a.url, "http"), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return &socket{p, c}
}

// write sends a request.
func (s *socket) write(typ, body string) error {
	m := &message.Message{Type: typ, ReturnRoute: "all", CreatedTime: time.Now(), Body: []byte(body)}
	return s.c.WriteMessage(websocket.TextMessage, pack(s.t, s.Party, s.a.did, m).Data)
}

// count reads until no message has come for a while, and returns how many messages came of each type.
func (s *socket) count(quiet time.Duration) map[string]int {
	got := make(map[string]int)
	for {
		_ = s.c.SetReadDeadline(time.Now().Add(quiet))
		_, data, err := s.c.ReadMessage()
		if err != nil {
			return got
		}
		if u, err := s.Packer.Unpack(s.t.Context(), data); err == nil {
			_, name, _ := strings.Cut(strings.TrimPrefix(u.Message.Type, "https://didcomm.org/"), "/")
			got[name[strings.LastIndexByte(name, '/')+1:]]++
		}
	}
}

// TestLiveFlood switches live mode thousands of times, on one connection and from one to the next.
func TestLiveFlood(t *testing.T) {
	a := serve(t, "--mediator", "--log-level", "error")
	p, friend := enrolled(t, a, "127.0.0.2"), enrolled(t, a, "127.0.0.3")
	n := count(5000, 1500)
	s := p.dial("127.0.0.2")
	counted := make(chan map[string]int, 1)
	go func() { counted <- s.count(2 * time.Second) }()
	start := time.Now()
	written := 0
	for i := range n {
		if s.write(pickup+"live-delivery-change", fmt.Sprintf(`{"live_delivery":%t}`, i%5 != 0)) != nil {
			break
		}
		written++
	}
	took, first := time.Since(start), a.ping()
	got := <-counted
	// Each newer connection takes the place of the one before.
	sockets := make([]*socket, 100)
	for i := range sockets {
		sockets[i] = p.dial(fmt.Sprintf("127.0.1.%d", i%4+1))
		if err := sockets[i].write(pickup+"live-delivery-change", `{"live_delivery":true}`); err != nil {
			t.Fatal(err)
		}
	}
	last := sockets[len(sockets)-1]
	if got := last.count(time.Second); got["status"] == 0 {
		t.Errorf("the last connection gets %v", got)
	}
	honest := friend.waiting() == 0
	figures(t, honest && first > 0 && a.peak() < 300<<20, "-",
		fmt.Sprintf("%d changes on a connection in %s: %v, ping answered in %s; 100 connections of a phone; %d MB",
			written, took.Round(100*time.Millisecond), got, first.Round(time.Millisecond), a.peak()>>20), "300 MiB")
}

// TestNeverAcks leaves pushed and delivered mail without an ack, and reads slowly or not at all.
func TestNeverAcks(t *testing.T) {
	a := serve(t, "--mediator", "--log-level", "error")
	friend := newPhone(t, a, "127.9.0.2")
	const packets, size = 30, 256 << 10
	phones := make([]*phone, count(40, 8))
	for i := range phones {
		phones[i] = enrolled(t, a, addressOf(i))
	}
	together(len(phones), 4, func(i int) {
		for j := range packets {
			if got := friend.send(true, phones[i].DID, strings.Repeat("x", size)+fmt.Sprint(j)); got.status != http.StatusAccepted {
				t.Error(got)
			}
		}
	})
	before := a.peak()
	most := 0
	deaf := make([]*socket, len(phones))
	for i, p := range phones {
		deaf[i] = p.dial(addressOf(i))
		if err := deaf[i].write(pickup+"live-delivery-change", `{"live_delivery":true}`); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range deaf[:2] { // these read, the others do not
		most = max(most, s.count(2 * time.Second)["delivery"])
	}
	// Requests for the same mail, over and over, from another connection.
	together(len(phones)*10, 8, func(i int) {
		phones[i%len(phones)].ask(pickup+"delivery-request", `{"limit":100}`)
	})
	left := phones[0].waiting()
	took := a.ping()
	figures(t, most > 0 && most*size <= 6<<20 && left == packets && took > 0 && a.peak() < 600<<20, "-",
		fmt.Sprintf("%d phones with %d messages of 256 KiB: %d pushed without an ack, %d kept; %d MB before, %d MB in the end; ping answered in %s",
			len(phones), packets, most, left, before>>20, a.peak()>>20, took.Round(time.Millisecond)), "6 MiB pushed, 600 MiB")
}

// TestForeignAcks acknowledges the mail of others, and sends huge lists.
func TestForeignAcks(t *testing.T) {
	a := serve(t, "--mediator", "--log-level", "error")
	owner, thief, friend := enrolled(t, a, "127.0.0.2"), enrolled(t, a, "127.0.0.3"), newPhone(t, a, "127.0.0.4")
	for i := range 10 {
		if got := friend.send(true, owner.DID, fmt.Sprint(i)); got.status != http.StatusAccepted {
			t.Fatal(got)
		}
	}
	var ids []string
	for _, m := range owner.ask(pickup+"delivery-request", `{"limit":10}`).Attachments {
		ids = append(ids, m.ID)
	}
	list := func(ids []string) string {
		data, err := json.Marshal(map[string][]string{"message_id_list": ids})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	thief.ask(pickup+"messages-received", list(ids))
	var many, long []string
	for i := range 100_000 {
		many = append(many, fmt.Sprintf("%022d", i))
	}
	for i := range 1000 {
		long = append(long, strings.Repeat("x", 2000)+fmt.Sprint(i))
	}
	start := time.Now()
	reports, n := 0, count(100, 20)
	for range n {
		if codeOf(thief.ask(pickup+"messages-received", list(many))) != "" {
			reports++
		}
		thief.ask(pickup+"messages-received", list(long))
		thief.ask(pickup+"messages-received", list(many[:1000]))
	}
	took := time.Since(start) / time.Duration(3*n)
	left := owner.waiting()
	figures(t, len(ids) == 10 && left == 10 && reports == n && took < time.Second && a.peak() < 300<<20, "-",
		fmt.Sprintf("10 foreign ids acked: %d of 10 left; %d of %d lists of 100,000 refused, %s for a list; %d MB",
			left, reports, n, took.Round(time.Millisecond), a.peak()>>20), "10 left, 1 s, 300 MiB")
}
