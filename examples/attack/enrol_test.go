//go:build attack && linux

package attack_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
)

// TestEnrolmentFlood makes many free DIDs ask for mediation, from one address and from many.
func TestEnrolmentFlood(t *testing.T) {
	for name, many := range map[string]bool{"one address": false, "many addresses": true} {
		t.Run(name, func(t *testing.T) {
			const perHour = 900 // of which a third comes at once
			a := serve(t, "--mediator", "--log-level", "error", "--enrolments-per-hour", fmt.Sprint(perHour))
			friend := enrolled(t, a, "127.9.0.1")
			n := count(5000, 600)
			before, start := a.disk(), time.Now()
			var granted, refused atomic.Int64
			together(n, 20, func(i int) {
				ip := "127.0.0.2"
				if many {
					ip = addressOf(i)
				}
				p := newPhone(t, a, ip)
				m := p.ask(mediateRequest, `{}`)
				p.at.CloseIdleConnections()
				if m.Type == mediateGrant {
					granted.Add(1)
				} else if code := codeOf(m); strings.HasPrefix(code, "e.p.me.res.enroll.") {
					refused.Add(1)
				}
			})
			most := int64(21)
			if many {
				most = perHour/3 + int64(time.Since(start)*perHour/time.Hour) + 1
			}
			s, grown := a.stats(), (a.disk()-before)/int64(n)
			ok := granted.Load() <= most && int64(s.Accounts) <= granted.Load()+1 && (many || refused.Load() > 0) && grown < 24<<10 && a.peak() < 300<<20
			took := a.ping()
			ok = ok && took > 0 && friend.waiting() == 0
			figures(t, ok, "-", fmt.Sprintf("%d DIDs: %d accounts, %d told the limit; %d KiB of disk for each, %d MB, ping answered in %s",
				n, granted.Load(), refused.Load(), grown>>10, a.peak()>>20, took.Round(time.Millisecond)),
				fmt.Sprintf("%d accounts, 24 KiB, 300 MiB", most))
		})
	}
}

// TestRecipientFlood makes one account register more DIDs than it may have.
func TestRecipientFlood(t *testing.T) {
	a := serve(t, "--mediator", "--log-level", "error")
	p := enrolled(t, a, "127.0.0.2")
	before, sent, told := a.disk(), int64(0), 0
	for range 15 {
		var list []string
		for range 100 {
			long := agenttest.NewParty(t, "https://example.org/"+strings.Repeat("x", 2000)).DID
			list = append(list, fmt.Sprintf(`{"action":"add","recipient_did":%q}`, long))
		}
		body := `{"updates":[` + strings.Join(list, ",") + `]}`
		sent += int64(len(body))
		m := p.ask(recipients, body)
		if codeOf(m) != "" || strings.Contains(string(m.Body), `"client_error"`) || strings.Contains(string(m.Body), `"server_error"`) {
			told++
		}
	}
	s, grown := a.stats(), a.disk()-before
	figures(t, s.Recipients <= 1000 && told > 0 && grown < 12*sent, "-",
		fmt.Sprintf("1500 DIDs of 3 KB: %d registered, %d answers tell of a limit, the disk grows by %.1f times what was sent", s.Recipients, told, float64(grown)/float64(sent)),
		"1000, a factor of 12")
}

// TestTheft makes a thief register what belongs to somebody else.
func TestTheft(t *testing.T) {
	a := serve(t, "--mediator", "--log-level", "error")
	owner, thief, sender := enrolled(t, a, "127.0.0.2"), enrolled(t, a, "127.0.0.3"), newPhone(t, a, "127.0.0.4")
	extra := newPhone(t, a, "127.0.0.2")
	add := func(id string) string { return fmt.Sprintf(`{"updates":[{"action":"add","recipient_did":%q}]}`, id) }
	if m := owner.ask(recipients, add(extra.DID)); !strings.Contains(string(m.Body), `"success"`) {
		t.Fatalf("%s %s", m.Type, m.Body)
	}
	stolen := 0
	for _, id := range []string{owner.DID, extra.DID, extra.DID + "#key-1", owner.DID + "#key-2", extra.DID + "?a=b", " " + extra.DID, a.did, a.did + "#key-1"} {
		if m := thief.ask(recipients, add(id)); strings.Contains(string(m.Body), `"success"`) {
			stolen++
		}
		m := thief.ask(recipients, fmt.Sprintf(`{"updates":[{"action":"remove","recipient_did":%q}]}`, id))
		if strings.Contains(string(m.Body), `"success"`) {
			stolen++
		}
	}
	for _, to := range []string{owner.DID, extra.DID, extra.DID + "#key-1"} {
		if got := postAs(t, sender.at, a.url, sender.forward(true, a.did, to, pack(t, sender.Party, owner.DID, text(to)))); got.status != http.StatusAccepted {
			t.Errorf("%s: %s", to, got)
		}
	}
	m := thief.ask(pickup+"delivery-request", `{"limit":10}`)
	other := thief.ask(pickup+"delivery-request", fmt.Sprintf(`{"limit":10,"recipient_did":%q}`, extra.DID))
	figures(t, stolen == 0 && thief.waiting() == 0 && len(m.Attachments)+len(other.Attachments) == 0 && owner.waiting() == 3, "-",
		fmt.Sprintf("%d of 8 spellings taken, %d messages at the thief, %d at the owner", stolen, thief.waiting(), owner.waiting()), "0, 0, 3")
}

// TestInvitationsGuessed guesses the tokens of invitations to enroll, and invitations at their URL.
func TestInvitationsGuessed(t *testing.T) {
	a := serve(t, "--mediator", "--invitation", "--enroll-invited", "--log-level", "error")
	n := count(2000, 300)
	var in, told, denied atomic.Int64
	together(n, 10, func(i int) {
		ip := "127.0.0.2"
		if i%2 == 1 {
			ip = addressOf(i)
		}
		p := newPhone(t, a, ip)
		m := p.ask(mediateRequest, `{}`, func(m *message.Message) { m.ParentThreadID = fmt.Sprintf("%022d", i) })
		p.at.CloseIdleConnections()
		switch {
		case m.Type == mediateGrant:
			in.Add(1)
		case m.Type == mediateDeny:
			denied.Add(1)
		case codeOf(m) != "":
			told.Add(1)
		}
	})
	guesses := make(map[string]int)
	for i := range 50 {
		oob := fmt.Sprintf(`{"type":"https://didcomm.org/out-of-band/2.0/invitation","id":"%d","from":%q}`, i, a.did)
		resp, err := clientAt("127.0.0.3").Get("http://" + a.host + "/invitation?_oob=" + url.QueryEscape(encode(oob)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		guesses[resp.Status]++
	}
	figures(t, in.Load() == 0 && denied.Load() > 0 && a.stats().Accounts == 0 && len(guesses) == 1 && guesses["404 Not Found"] == 50, "-",
		fmt.Sprintf("%d tokens guessed: %d let in, %d denied, %d over a rate; 50 invitations guessed: %v", n, in.Load(), denied.Load(), told.Load(), guesses),
		"0, all 404")
}
