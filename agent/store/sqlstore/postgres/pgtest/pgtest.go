// Package pgtest runs a PostgreSQL server for a test: a new cluster in a temporary folder,
// with a Unix socket in this folder. [Server.Close] removes the folder. The package needs
// the programs initdb, pg_ctl and psql, for example from the package postgresql of Debian.
//
//	server, err := pgtest.Start(ctx)
//	defer server.Close()
//	dsn, err := server.DSN(ctx, "mine")
//	s, err := postgres.Open(ctx, dsn, sqlstore.Config{})
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

// Server is a PostgreSQL server that runs until Close.
type Server struct {
	dir string // holds data, sockets and the log
	bin string // folder of the programs
}

// superuser is the superuser of the cluster.
const superuser = "didcomm"

// Start makes a cluster and starts its server. The server syncs to the disk, as a server in
// production does. If a program fails, its output is in the error.
func Start(ctx context.Context) (*Server, error) {
	dir, err := os.MkdirTemp("", "pgtest") // short, since the path of a socket has at most 107 bytes
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

// DSN makes a schema of that name if it is missing, and returns the DSN of the server with
// this schema as search_path.
func (s *Server) DSN(ctx context.Context, schema string) (string, error) {
	dsn := fmt.Sprintf("host=%s user=%s dbname=postgres", s.dir, superuser)
	if err := s.run(ctx, "psql", "-X", "-q", "-h", s.dir, "-U", superuser, "-d", "postgres", "-c", "CREATE SCHEMA IF NOT EXISTS "+schema); err != nil {
		return "", err
	}
	return dsn + " search_path=" + schema, nil
}

// Kill ends the server as a crash would: the server writes nothing more, and recovers when
// Restart starts it.
func (s *Server) Kill(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "stop", "-D", s.data(), "-m", "immediate", "-w")
}

// Restart starts the server after a Kill.
func (s *Server) Restart(ctx context.Context) error {
	options := fmt.Sprintf("-c listen_addresses='' -c unix_socket_directories='%s' -c max_connections=200", s.dir)
	return s.run(ctx, "pg_ctl", "start", "-D", s.data(), "-l", filepath.Join(s.dir, "log"), "-o", options, "-w", "-t", "60")
}

// Close stops the server and removes the cluster.
func (s *Server) Close() error {
	err := s.run(context.Background(), "pg_ctl", "stop", "-D", s.data(), "-m", "fast", "-w")
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// run runs a program of PostgreSQL.
func (s *Server) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	asOwner(cmd)
	// The output goes to a file, because the server inherits it and would keep a pipe open.
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

// programs returns the folder of the programs: of the newest version that Debian has
// installed outside of PATH, or else in PATH.
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
