package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is the shortest time between two looks whether the files have changed.
const lookEvery = time.Second

// certificates is the certificate of the server, and the authorities of its clients. Both come
// from files, and are loaded again when these have changed.
type certificates struct {
	cert, key, clientCA string // PEM files; clientCA may be empty
	logger              *slog.Logger

	mu     sync.Mutex // guards all below
	config *tls.Config
	loaded [3]stamp  // of the files that config is from
	failed [3]stamp  // of the files that could not be loaded
	looked time.Time // at the files
}

// stamp tells a state of a file from others.
type stamp struct {
	modified time.Time
	size     int64
}

// newCertificates loads the files. It returns nil if the Config names none.
func (c Config) newCertificates() (*certificates, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	s := &certificates{cert: c.TLSCert, key: c.TLSKey, clientCA: c.ClientCA, logger: c.Logger}
	s.looked, s.loaded = time.Now(), s.stamps()
	var err error
	s.config, err = s.load()
	return s, err
}

// tls returns the configuration of a server with the certificates, or nil without them.
func (s *certificates) tls() *tls.Config {
	if s == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current(), nil
		},
	}
}

// current returns the configuration for a connection.
func (s *certificates) current() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.looked) >= lookEvery {
		s.looked = now
		if at := s.stamps(); at != s.loaded {
			s.reload(at)
		}
	}
	return s.config
}

// reload loads the files with the stamps at. If it cannot, the last configuration stays, and
// the log tells once why. The caller holds mu.
func (s *certificates) reload(at [3]stamp) {
	config, err := s.load()
	switch {
	case err == nil:
		s.config, s.loaded = config, at
		s.logger.Info("certificate loaded", "file", s.cert, "expires", config.Certificates[0].Leaf.NotAfter)
	case s.failed != at:
		s.failed = at
		s.logger.Error("certificate not loaded; the last one stays", "error", err)
	}
}

// reloadNow loads the files even if they look unchanged.
func (s *certificates) reloadNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = [3]stamp{}
	s.reload(s.stamps())
}

func (s *certificates) stamps() (at [3]stamp) {
	for i, file := range []string{s.cert, s.key, s.clientCA} {
		if info, err := os.Stat(file); err == nil {
			at[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return at
}

func (s *certificates) load() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(s.cert, s.key)
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	config := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{cert},
	}
	if s.clientCA == "" {
		return config, nil
	}
	data, err := os.ReadFile(s.clientCA)
	if err != nil {
		return nil, fmt.Errorf("client authorities: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("client authorities: no certificate in %s", s.clientCA)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.SessionTicketsDisabled = true // a session must not outlive the trust in its authority
	return config, nil
}
