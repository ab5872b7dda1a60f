// Package pgtest runs a PostgreSQL server of a test's own: a new cluster in a
// temporary folder, reached by a socket in it, that is gone afterwards. It needs
// the programs initdb and pg_ctl, as Debian's package postgresql has them.
//
//	server, err := pgtest.Start(ctx)
//	defer server.Close()
//	s, err := postgres.Open(ctx, server.DSN("mine"), sqlstore.Config{})
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Server is a server, which runs until Close.
type Server struct {
	dir string // holds data, sockets and the log
	bin string // folder of pg_ctl, "" for PATH
}

// superuser is the superuser of the cluster.
const superuser = "didcomm"

// Start makes a cluster and starts its server. It syncs to the disk, as it would
// in earnest.
func Start(ctx context.Context) (*Server, error) {
	dir, err := os.MkdirTemp("", "pgtest") // short: a socket's path may have 107 bytes
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if s.bin, err = programs(); err == nil {
		err = own(dir)
	}
	if err == nil {
		err = s.run(ctx, "initdb", "-D", s.data(), "-U", superuser, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-instructions")
	}
	if err == nil {
		err = s.Restart(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// DSN is how to reach the server, with the tables in a schema of that name, which
// is made.
func (s *Server) DSN(ctx context.Context, schema string) (string, error) {
	dsn := fmt.Sprintf("host=%s user=%s dbname=postgres", s.dir, superuser)
	if err := s.run(ctx, "psql", "-X", "-q", "-h", s.dir, "-U", superuser, "-d", "postgres", "-c", "CREATE SCHEMA IF NOT EXISTS "+schema); err != nil {
		return "", err
	}
	return dsn + " search_path=" + schema, nil
}

// Kill ends the server as a crash would: it writes nothing more, and recovers when
// it is started again.
func (s *Server) Kill(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "stop", "-D", s.data(), "-m", "immediate", "-w")
}

// Restart starts the server that was killed.
func (s *Server) Restart(ctx context.Context) error {
	options := fmt.Sprintf("-c listen_addresses='' -c unix_socket_directories='%s' -c max_connections=200", s.dir)
	return s.run(ctx, "pg_ctl", "start", "-D", s.data(), "-l", filepath.Join(s.dir, "log"), "-o", options, "-w", "-t", "60")
}

// Close ends the server and removes the cluster.
func (s *Server) Close() error {
	err := s.run(context.Background(), "pg_ctl", "stop", "-D", s.data(), "-m", "fast", "-w")
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// run runs one of PostgreSQL's programs.
func (s *Server) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	asOwner(cmd)
	// A file, not a pipe: the server inherits it and would keep a pipe open.
	out, err := os.CreateTemp(s.dir, name)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("%s: %w: %s\n%s", name, err, bytes.TrimSpace(said), log)
	}
	return nil
}

// programs returns the folder that has initdb and pg_ctl: the newest that Debian
// keeps, which are not in PATH, or the one in PATH.
func programs() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { // by version: 9 before 15
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(b, a)
	})
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, dir := range dirs {
		if !slices.ContainsFunc([]string{"initdb", "pg_ctl", "psql"}, func(name string) bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return err != nil
		}) {
			return dir, nil
		}
	}
	return "", errors.New("pgtest: no initdb, pg_ctl and psql in PATH or /usr/lib/postgresql: install PostgreSQL (Debian: apt-get install postgresql)")
}
