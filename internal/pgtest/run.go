package pgtest

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// Run starts a server for a program that is no test. The caller closes it.
func Run(ctx context.Context, opt Options) (*Postgres, error) { return start(ctx, opt) }

// Close ends a server of Run, and removes its databases.
func (s *Postgres) Close() error { return s.den.Close() }

// Pid is the server's first process, the parent of all others; 0 when it is not running.
func (s *Postgres) Pid() int { return s.proc.Pid() }

// Create makes an empty database on the server, and returns its DSN.
func (s *Postgres) Create(ctx context.Context, name string) (string, error) {
	return s.DSN(name), s.do(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE template0")
}

// Copy makes a database that is like another one, which nobody must be connected to.
func (s *Postgres) Copy(ctx context.Context, from, name string) error {
	return s.do(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE "+pgx.Identifier{from}.Sanitize())
}

// Drop removes a database, with whoever is still connected.
func (s *Postgres) Drop(ctx context.Context, name string) error {
	return s.do(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)")
}

func open(base string) (*ward.Den, error) {
	if base == "" {
		return ward.Open("postgres")
	}
	return ward.OpenIn(base, "postgres")
}
