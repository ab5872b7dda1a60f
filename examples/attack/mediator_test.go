//go:build attack && linux

package attack_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// Message types of the clients of a mediator.
const (
	mediateRequest = "https://didcomm.org/coordinate-mediation/3.0/mediate-request"
	mediateGrant   = "https://didcomm.org/coordinate-mediation/3.0/mediate-grant"
	mediateDeny    = "https://didcomm.org/coordinate-mediation/3.0/mediate-deny"
	recipients     = "https://didcomm.org/coordinate-mediation/3.0/recipient-update"
	forwardType    = "https://didcomm.org/routing/2.0/forward"
	pickup         = "https://didcomm.org/messagepickup/3.0/"
)

// phone is a party that asks from one address. Its connections stay open.
type phone struct {
	*agenttest.Party
	t  *testing.T
	a  *target
	at *http.Client
}

func newPhone(t *testing.T, a *target, ip string, endpoints ...string) *phone {
	t.Helper()
	c := clientAt(ip)
	c.Transport.(*http.Transport).DisableKeepAlives = false
	t.Cleanup(c.CloseIdleConnections)
	return &phone{agenttest.NewParty(t, endpoints...), t, a, c}
}

// enrolled returns a phone that is enrolled.
func enrolled(t *testing.T, a *target, ip string, endpoints ...string) *phone {
	t.Helper()
	p := newPhone(t, a, ip, endpoints...)
	if m := p.ask(mediateRequest, `{}`); m.Type != mediateGrant {
		t.Fatalf("not enrolled: %s %s", m.Type, m.Body)
	}
	return p
}

// ask sends a request, and returns the message that answers on the same connection. If there is
// none, the message is empty.
func (p *phone) ask(typ, body string, edits ...func(*message.Message)) *message.Message {
	p.t.Helper()
	m := &message.Message{Type: typ, ReturnRoute: "all", CreatedTime: time.Now(), Body: []byte(body)}
	for _, edit := range edits {
		edit(m)
	}
	_, data := postBy(p.t, p.at, p.a.url, pack(p.t, p.Party, p.a.did, m))
	u, err := p.Packer.Unpack(p.t.Context(), data)
	if err != nil {
		return &message.Message{Body: data}
	}
	return u.Message
}

// codeOf returns the code of a problem report, or "".
func codeOf(m *message.Message) string {
	if !message.IsProblemReport(m.Type) {
		return ""
	}
	return message.ReadProblem(m.Body).Code
}

// waiting returns how many messages wait for a phone.
func (p *phone) waiting() int {
	p.t.Helper()
	m := p.ask(pickup+"status-request", `{}`)
	var status struct {
		Count *int `json:"message_count"`
	}
	if json.Unmarshal(m.Body, &status) != nil || status.Count == nil {
		p.t.Errorf("status: %s %.200s", m.Type, m.Body)
		return -1
	}
	return *status.Count
}

// answer is the answer to a POST.
type answer struct {
	status     int
	retryAfter string
	body       []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %q %.200s", a.status, a.retryAfter, a.body) }

// over reports whether the answer refuses a packet by a limit, tells its name and when to try again.
func (a answer) over(status int, limit string) bool {
	return a.status == status && a.retryAfter != "" && strings.Contains(string(a.body), limit)
}

func postAs(t *testing.T, c *http.Client, url string, p transport.Packet) answer {
	resp, err := c.Post(url, p.MediaType, bytes.NewReader(p.Data))
	if err != nil {
		return answer{body: []byte(err.Error())}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{body: []byte(err.Error())}
	}
	return answer{resp.StatusCode, resp.Header.Get("Retry-After"), body}
}

// forward returns a forward to the mediator of packets for next. The forward is authenticated unless
// it is anonymous.
func (p *phone) forward(anonymous bool, to, next string, packets ...transport.Packet) transport.Packet {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"next": next})
	if err != nil {
		p.t.Fatal(err)
	}
	m := &message.Message{ID: message.NewID(), Type: forwardType, To: []string{to}, Body: body}
	for _, packet := range packets {
		m.Attachments = append(m.Attachments, message.JSONAttachment(message.NewID(), packet.MediaType, packet.Data))
	}
	opts := []envelope.PackOption{envelope.To(to)}
	if !anonymous {
		m.From = p.DID
		opts = append(opts, envelope.From(p.DID))
	}
	e, err := p.Packer.Pack(p.t.Context(), m, opts...)
	if err != nil {
		p.t.Fatal(err)
	}
	return transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data}
}

// send forwards a text to a phone.
func (p *phone) send(anonymous bool, to, content string) answer {
	p.t.Helper()
	return postAs(p.t, p.at, p.a.url, p.forward(anonymous, p.a.did, to, pack(p.t, p.Party, to, text(content))))
}

// disk returns how many bytes the files of the target have.
func (a *target) disk() (n int64) {
	a.t.Helper()
	err := filepath.WalkDir(a.home, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// stats are figures of a mediator.
type stats struct {
	Accounts   int `json:"accounts"`
	Recipients int `json:"recipients"`
	Messages   int `json:"messages"`
}

func (a *target) stats() (s stats) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.must("mediator", "stats", "--json")), &s); err != nil {
		a.t.Fatal(err)
	}
	return s
}
