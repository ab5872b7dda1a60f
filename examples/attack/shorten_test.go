//go:build attack && linux

package attack_test

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

const shortenRequest = "https://didcomm.org/shorten-url/1.0/request-shortened-url"

// shorten asks for a short URL, and returns the URL, or the code of the problem.
func (p *phone) shorten(url string) (short, code string) {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"url": url, "goal_code": "shorten.oobv2"})
	if err != nil {
		p.t.Fatal(err)
	}
	m := p.ask(shortenRequest, string(body))
	var answer struct {
		URL string `json:"shortened_url"`
	}
	_ = json.Unmarshal(m.Body, &answer)
	return answer.URL, codeOf(m)
}

// inviting returns a URL with an invitation in it.
func (p *phone) inviting(base string) string {
	return base + "?_oob=" + encode(fmt.Sprintf(`{"type":"https://didcomm.org/out-of-band/2.0/invitation","id":"1","from":%q}`, p.DID))
}

// TestShortURLsGuessed guesses short URLs.
func TestShortURLsGuessed(t *testing.T) {
	a := serve(t, "--mediator", "--log-level", "error")
	p := enrolled(t, a, "127.0.0.2")
	short, code := p.shorten(p.inviting("https://wallet.example.org/"))
	if short == "" {
		t.Fatal(code)
	}
	get := func(c *http.Client, url string) (int, string, time.Duration) {
		start := time.Now()
		resp, err := c.Get(url)
		if err != nil {
			return 0, err.Error(), 0
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), time.Since(start)
	}
	base, real, _ := strings.Cut(short, "_oobid=")
	answers := make(map[string]int)
	guesser := clientAt("127.0.0.3")
	for i := range 400 {
		slug := make([]byte, 16)
		_, _ = rand.Read(slug)
		guess := base64.RawURLEncoding.EncodeToString(slug)
		switch i {
		case 0:
			guess = real[:len(real)-1]
		case 1:
			guess = "x"
		case 2:
			guess = real + "x"
		case 3:
			guess = strings.Repeat("x", 5000)
		case 4:
			guess = "%00"
		}
		status, body, _ := get(guesser, base+"_oobid="+guess)
		if status == http.StatusTooManyRequests {
			body = ""
		}
		answers[fmt.Sprint(status, " ", strings.TrimSpace(body))]++
	}
	friend := clientAt("127.0.0.4")
	friend.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	status, _, _ := get(friend, short)
	figures(t, len(answers) == 2 && answers["404 no such invitation"] <= 150 && status == http.StatusFound, "-",
		fmt.Sprintf("400 guesses: %v; the right one of another: %d", answers, status), "one answer, 150 times; 302")
}

// TestPointedInside makes short URLs, and invitations, that lead into a private network.
func TestPointedInside(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	inner := newSite(t, "127.0.0.1", accept)
	// The mediator is public. Its clients reach it at its address.
	a := serve(t, "--mediator", "--log-level", "error", "--listen", l.Addr().String(), "--public-url", "https://mediator.example.org/didcomm")
	a.url, a.host = "http://"+l.Addr().String()+"/didcomm", l.Addr().String()
	p := enrolled(t, a, "127.0.0.2")
	if short, code := p.shorten(p.inviting("https://wallet.example.org/")); short == "" {
		t.Fatal(code)
	}
	shortened, accepted := 0, 0
	hosts := []string{
		strings.TrimPrefix(inner.url, "http://"), "localhost", "a.localhost", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433",
		"0x7f000001", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "[fd00::1]", "[fe80::1]", "[64:ff9b::a00:1]",
	}
	for _, host := range hosts {
		if short, _ := p.shorten(p.inviting("http://" + host + "/admin")); short != "" {
			t.Errorf("shortened: %s", host)
			shortened++
		}
	}
	// A page at an address that the user knows leads on to others.
	for _, host := range hosts {
		if strings.HasPrefix(host, "127.") || strings.Contains(host, "localhost") || strings.HasPrefix(host, "[::") || strings.HasPrefix(host, "2") || strings.HasPrefix(host, "0x") {
			continue // accept may connect to this machine
		}
		redirects := newSite(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+host+"/admin", http.StatusFound)
		})
		for _, url := range []string{"http://" + host + "/i?_oobid=1", redirects.url + "/i?_oobid=1"} {
			if _, err := a.run("accept", url); err == nil || !strings.Contains(err.Error(), "address refused") {
				t.Errorf("accept %s: %v", url, err)
				accepted++
			}
		}
	}
	figures(t, shortened == 0 && accepted == 0 && inner.requests.Load() == 0, "-",
		fmt.Sprintf("%d URLs: %d shortened, %d opened by accept", len(hosts), shortened, accepted), "0, 0")
}
