package main

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/protocols/outofband"
)

// Programs get the invitation of an agent as JSON, and browsers a page of it that runs nothing
// and loads nothing. Another invitation is shown if the home keeps it.
func TestInvitationPage(t *testing.T) {
	agent, who := run(t, "--invitation")
	at, err := url.JoinPath(agent.url, "..", "invitation")
	if err != nil {
		t.Fatal(err)
	}
	get := func(u, accept string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	shown := regexp.MustCompile(`<code>(.*)</code>`)

	id := ""
	for _, accept := range []string{"", "*/*", "application/json", "text/html, application/json"} {
		resp, body := get(at, accept)
		i, err := outofband.Parse(body)
		if err != nil || i.From != agent.did || resp.Header.Get("Content-Type") != "application/json" || id != "" && i.ID != id {
			t.Errorf("Accept %q: %v, %s, %v", accept, resp.Header, body, err)
			continue
		}
		id = i.ID
	}

	resp, page := get(at, browser)
	code := shown.FindStringSubmatch(page)
	if resp.StatusCode != http.StatusOK || code == nil || !strings.Contains(page, "<svg ") || strings.Contains(page, "<script") {
		t.Fatalf("%s, %s", resp.Status, page)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	if i, err := outofband.Parse(code[1]); err != nil || i.ID != id {
		t.Errorf("the page shows %+v, %v", i, err)
	}

	u := strings.TrimSpace(who.run("", "invite", "--home", "home", "--goal", `<script>alert("x")</script>`))
	if resp, page = get(u, browser); resp.StatusCode != http.StatusOK || !strings.Contains(page, "&lt;script&gt;") || strings.Contains(page, "<script") || !strings.Contains(page, u) {
		t.Errorf("%s, %s", resp.Status, page)
	}
	own, err := outofband.New(agent.did).URL(at)
	if err != nil {
		t.Fatal(err)
	}
	i, err := outofband.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	i.From = "did:example:mallory"
	foreign, err := i.URL(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{own, foreign, at + "?_oob=e30", at + "?_oob=", at + "?_oobid=1", at + "?_oob=" + strings.Repeat("x", 10_000)} {
		if resp, body := get(u, browser); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%.100s: %s, %s", u, resp.Status, body)
		}
	}
}
