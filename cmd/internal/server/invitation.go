package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/cmd/internal/qrcode"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/didcomm-go/didcomm/protocols/shorten"
	"github.com/labstack/echo/v4"
)

// InvitationPath is the path of the invitation, and of short URLs.
const InvitationPath = "/invitation"

// invitations are the invitations of the home, and what GET of InvitationPath answers.
type invitations struct {
	book      *outofband.Book
	url       string                // of InvitationPath
	own       *outofband.Invitation // nil without Config.Invitation
	shortener *shorten.Shortener    // nil if the agent is no mediator
}

// openInvitations makes the invitations of the home, after its mediator. Short URLs lead where
// the agent itself may connect to.
func (s *Server) openInvitations(ctx context.Context, reach network.Reach) (err error) {
	s.invitations.book = outofband.NewBook(s.home.Store.Records())
	if s.endpoint == nil {
		return nil
	}
	at := *s.endpoint
	at.Path, at.RawPath = InvitationPath, ""
	s.invitations.url = at.String()
	if s.mediator != nil {
		s.invitations.shortener, err = shorten.New(shorten.Config{
			URL: s.invitations.url, Records: s.home.Store.Records(), Allow: s.mayShorten, Address: reach.Check,
		})
		if err != nil {
			return err
		}
	}
	if !s.cfg.Invitation {
		return nil
	}
	// One invitation for each DID of the agent: a printed code outlives the process.
	i := outofband.New(s.did)
	if s.mediator != nil {
		i.GoalCode, i.Goal = EnrollGoalCode, EnrollGoal
	}
	sum := sha256.Sum256([]byte("invitation " + s.did))
	i.ID = fmt.Sprintf("%x", sum[:16])
	if err := s.invitations.book.Keep(ctx, &outofband.Kept{Invitation: i}); err != nil && !errors.Is(err, store.ErrVersion) {
		return fmt.Errorf("invitation: %w", err)
	}
	s.invitations.own = i
	return nil
}

// inviting returns the protocols of invitations.
func (s *Server) inviting() []agent.MuxOption {
	options := []agent.MuxOption{s.invitations.book.Serve(s.cfg.Logger)}
	if s.invitations.shortener != nil {
		options = append(options, s.invitations.shortener.Serve())
	}
	return options
}

// mayShorten is the Allow of the Shortener: only accounts of the mediator have URLs shortened.
func (s *Server) mayShorten(ctx context.Context, id string) error {
	a, err := s.mediator.Account(ctx, id)
	switch {
	case errors.Is(err, mediator.ErrNotEnrolled):
		return &message.Problem{Code: mediator.CodeNotEnrolled, Comment: "The sender is not enrolled."}
	case err == nil && !a.Blocked.IsZero(), errors.Is(err, mediator.ErrBlocked):
		return &message.Problem{Code: "e.p.req.blocked", Comment: "The account is blocked."}
	}
	return err
}

// serveInvitation answers GET of InvitationPath: a short URL, the invitation of the agent as
// JSON, or a page with its QR code for a browser. The URL of an invitation that this home keeps,
// as didcomm invite prints it, gets that invitation.
func (s *Server) serveInvitation(c echo.Context) error {
	r := c.Request()
	i := s.invitations.own
	if r.URL.Query().Has("_oobid") {
		if s.invitations.shortener == nil {
			return echo.ErrNotFound
		}
		s.invitations.shortener.ServeHTTP(c.Response(), r)
		return nil
	}
	if i == nil {
		return echo.ErrNotFound
	}
	if r.URL.Query().Has("_oob") {
		asked, err := outofband.Parse(s.invitations.url + "?" + r.URL.RawQuery)
		if err != nil {
			return echo.ErrNotFound
		}
		// The page speaks for this agent, so others must not put their words there.
		k, err := s.invitations.book.Get(r.Context(), asked.ID)
		if err != nil || did.Canonical(k.Invitation.From) != did.Canonical(asked.From) {
			return echo.ErrNotFound
		}
		i = k.Invitation
	}
	h := c.Response().Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if shorten.AcceptsJSON(r) || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		data, err := i.MarshalJSON()
		if err != nil {
			return err
		}
		h.Set("Access-Control-Allow-Origin", "*")
		return c.Blob(http.StatusOK, "application/json", data)
	}
	page, err := s.invitations.page(i)
	if err != nil {
		return err
	}
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	return c.HTMLBlob(http.StatusOK, page)
}

// page returns the page of an invitation.
func (n *invitations) page(i *outofband.Invitation) ([]byte, error) {
	at, err := i.URL(n.url)
	if err != nil {
		return nil, err
	}
	view := struct {
		Goal, URL string
		Code      template.HTML
	}{i.Goal, at, ""}
	if code, err := qrcode.New(at); err == nil { // else the URL is too long
		view.Code = template.HTML(code.SVG())
	}
	t, err := template.New("").Parse(invitationPage)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, view)
	return b.Bytes(), err
}

const invitationPage = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Invitation</title></head>
<body>
<h1>Invitation</h1>
{{with .Goal}}<p>{{.}}</p>{{end}}
<p>Scan this code with a DIDComm v2 wallet, or give its text to an agent.</p>
<p>{{.Code}}</p>
<p><code>{{.URL}}</code></p>
</body>
</html>
`
