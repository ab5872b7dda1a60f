package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/server"
)

// issued is a certificate that signs itself, and its key.
type issued struct {
	cert *x509.Certificate
	pair tls.Certificate
	pem  [2][]byte // certificate, key
}

func issue(t *testing.T, serial int64) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test", SerialNumber: big.NewInt(serial).String()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	made := issued{pem: [2][]byte{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}}
	if made.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if made.pair, err = tls.X509KeyPair(made.pem[0], made.pem[1]); err != nil {
		t.Fatal(err)
	}
	return made
}

// replace replaces a file, as a program that renews certificates does.
func replace(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// live returns the serial number of the server's certificate and the HTTP version, on a new
// connection. A client may have a certificate.
func live(t *testing.T, at string, client *issued) (serial int64, proto string, err error) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if client != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &client.pair, nil }
	}
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	defer c.CloseIdleConnections()
	resp, err := c.Get(at + server.LivePath)
	if err != nil {
		return 0, "", err
	}
	resp.Body.Close()
	return resp.TLS.PeerCertificates[0].SerialNumber.Int64(), resp.Proto, nil
}

// A renewed certificate is used without a restart. One that cannot be loaded is not, and the
// log says so once.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first, second := issue(t, 1), issue(t, 2)
	replace(t, cert, first.pem[0])
	replace(t, key, first.pem[1])
	at, _, log := start(t, func(c *server.Config) {
		c.TLSCert, c.TLSKey = cert, key
		c.Limits = server.Limits{} // none, since this test asks as often as it can
	})
	if serial, proto, err := live(t, at, nil); serial != 1 || proto != "HTTP/2.0" || err != nil {
		t.Fatalf("certificate %d by %s, %v", serial, proto, err)
	}
	replace(t, cert, second.pem[0]) // and the key of the first
	for began := time.Now(); !strings.Contains(log.String(), "certificate not loaded"); {
		if serial, _, err := live(t, at, nil); serial != 1 || err != nil || time.Since(began) > 30*time.Second {
			t.Fatalf("certificate %d, %v", serial, err)
		}
	}
	replace(t, key, second.pem[1])
	for began := time.Now(); ; {
		serial, proto, err := live(t, at, nil)
		if serial == 2 && proto == "HTTP/2.0" && err == nil {
			break
		}
		if serial != 1 || err != nil || time.Since(began) > 30*time.Second {
			t.Fatalf("certificate %d, %v", serial, err)
		}
	}
	if n := strings.Count(log.String(), "certificate not loaded"); n != 1 {
		t.Errorf("%d records of the log:\n%s", n, log)
	}
}

// Only clients with a certificate of the authorities are served, also after a change of these.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key, ca := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	own, alice, bob := issue(t, 1), issue(t, 2), issue(t, 3)
	replace(t, cert, own.pem[0])
	replace(t, key, own.pem[1])
	replace(t, ca, alice.pem[0])
	s, stop := listen(t, func(c *server.Config) { c.TLSCert, c.TLSKey, c.ClientCA = cert, key, ca })
	defer stop()
	at := strings.TrimSuffix(s.Endpoint(), server.DefaultPath)
	check := func(who string, client *issued, ok bool) {
		t.Helper()
		if _, _, err := live(t, at, client); (err == nil) != ok {
			t.Errorf("%s: %v", who, err)
		}
	}
	check("nobody", nil, false)
	check("alice", &alice, true)
	check("bob", &bob, false)
	replace(t, ca, []byte("no certificate"))
	s.Reload()
	check("alice", &alice, true)
	replace(t, ca, bob.pem[0])
	s.Reload()
	check("alice", &alice, false)
	check("bob", &bob, true)
}

// The files of the certificates have to be there at the start.
func TestCertificateMissing(t *testing.T) {
	dir := t.TempDir()
	own := issue(t, 1)
	for i, name := range []string{"cert.pem", "key.pem"} {
		replace(t, filepath.Join(dir, name), own.pem[i])
	}
	replace(t, filepath.Join(dir, "empty.pem"), nil)
	for _, files := range [][3]string{
		{"none.pem", "key.pem", ""}, {"cert.pem", "none.pem", ""}, {"key.pem", "cert.pem", ""}, {"empty.pem", "key.pem", ""},
		{"cert.pem", "key.pem", "none.pem"}, {"cert.pem", "key.pem", "empty.pem"}, {"cert.pem", "key.pem", "key.pem"},
	} {
		c := server.Config{Listen: "127.0.0.1:0", TLSCert: filepath.Join(dir, files[0]), TLSKey: filepath.Join(dir, files[1])}
		if files[2] != "" {
			c.ClientCA = filepath.Join(dir, files[2])
		}
		c.Home.Dir = t.TempDir()
		if _, err := server.Listen(t.Context(), c); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", files, err)
		}
	}
}

// trust returns the configuration of a client that trusts a certificate of localhost.
func trust(c issued) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}
