package fleet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/internal/config"
)

// A server is a database on a PostgreSQL server that is there for one run.
type server struct {
	given string // the address of the server, with the name of another database
	name  string // of the database
}

const (
	patience = 30 * time.Second // for making and dropping a database
	oldest   = 150000           // the first version of PostgreSQL that a hub knows
)

// makeServer makes an empty database on a server, and touches nothing else there.
func makeServer(ctx context.Context, address string, r io.Reader) (*server, error) {
	var raw [6]byte
	if _, err := io.ReadFull(r, raw[:]); err != nil {
		return nil, err
	}
	s := &server{given: address, name: "tidemark_fleet_" + hex.EncodeToString(raw[:])}
	err := s.at(ctx, address, func(ctx context.Context, c *pgx.Conn) error {
		var version int
		if err := c.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
			return err
		}
		if version < oldest {
			return fmt.Errorf("PostgreSQL %d is too old for a hub: %d or newer is needed", version/10000, oldest/10000)
		}
		_, err := c.Exec(ctx, "CREATE DATABASE "+s.name+" TEMPLATE template0")
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "42501" { // insufficient_privilege
			role := pgx.Identifier{c.Config().User}.Sanitize()
			return fmt.Errorf("the run needs a database of its own, and role %s may not make one: let a superuser say ALTER ROLE %s CREATEDB, and take it back afterwards: %w", role, role, err)
		}
		return err
	})
	if err != nil {
		if ctx.Err() != nil { // it may have been made all the same
			err = errors.Join(err, s.remove(context.WithoutCancel(ctx)))
		}
		return nil, err
	}
	return s, nil
}

// at does something over a connection of its own.
func (s *server) at(ctx context.Context, address string, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := pgx.Connect(ctx, address)
	if err != nil {
		return fmt.Errorf("reach the server at %s: %w", config.Redact(address), err)
	}
	err = errors.Join(do(ctx, c), c.Close(context.WithoutCancel(ctx)))
	if err != nil {
		return fmt.Errorf("%s: %w", config.Redact(address), err)
	}
	return nil
}

func (s *server) address() string { return inside(s.given, s.name, "") }

// hasty is address, with commits that are not waited for.
func (s *server) hasty() string { return inside(s.given, s.name, "synchronous_commit") }

func (s *server) String() string { return config.Redact(s.address()) }

// inside is the address of another database of the same server, with a setting off
// unless that is "".
func inside(address, name, off string) string {
	u, err := url.Parse(address)
	if err != nil || !strings.Contains(address, "://") { // names and values: the last one counts
		address += " dbname=" + name
		if off != "" {
			address += " " + off + "=off"
		}
		return address
	}
	u.Path, u.RawPath = "/"+name, ""
	q := u.Query()
	q.Del("dbname")
	q.Del("database")
	if off != "" {
		q.Set(off, "off")
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func (s *server) rows(ctx context.Context, each func(id, branch, note string, n int64)) error {
	return s.at(ctx, s.address(), func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, rowsSQL)
		if err != nil {
			return err
		}
		var id, branch, note string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&id, &branch, &note, &n}, func() error {
			each(id, branch, note, n)
			return nil
		})
		return err
	})
}

// remove drops the database, with whoever is still connected.
func (s *server) remove(ctx context.Context) error {
	err := s.at(ctx, s.given, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+s.name+" WITH (FORCE)")
		return err
	})
	if err != nil {
		return fmt.Errorf("the run's database is still there: drop it with DROP DATABASE %s WITH (FORCE): %w", s.name, err)
	}
	return nil
}
