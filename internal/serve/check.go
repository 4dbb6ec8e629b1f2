package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tidemark-sync/tidemark/internal/checkup"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// An exam looks at what Tidemark itself knows, too.
type exam struct{ checkup.List }

const reachTimeout = 10 * time.Second

// CheckHub looks at a hub's data directory.
func CheckHub(ctx context.Context, dir HubDir, now clock.Clock) []checkup.Finding {
	c := &exam{}
	b, conf, err := dir.find("")
	if b == nil {
		c.Add("config", checkup.Bad, "tidemark config reference explains every key", "%v", err)
		return c.Found
	}
	if err := b.exists(ctx); err != nil {
		c.Add("data", checkup.Bad, "tidemark hub --config tidemark.yaml --import APP.db makes one", "%v", err)
		return c.Found
	}
	b.examine(ctx, c)
	if err == nil {
		err = b.fits(ctx, conf)
	}
	if err != nil {
		c.Add("config", checkup.Bad, "tidemark config reference explains every key", "%v", err)
	} else {
		c.Add("config", checkup.Good, "", "%d tables sync", len(conf.Tables.Tables))
	}
	c.past(ctx, b, dir)
	at, err := dir.ReadEndpoint()
	switch {
	case !dir.Serving():
		c.Add("serving", checkup.Note, "tidemark hub --data "+string(dir), "nobody serves this directory now")
	case err != nil:
		c.Add("serving", checkup.Bad, "", "%v", err)
	default:
		c.reach(ctx, at.URL)
	}
	return c.Found
}

// past asks whether the hub waits for a word about a database that was put back.
func (c *exam) past(ctx context.Context, db base, dir HubDir) {
	b, err := hub.PeekBehind(func(kind, id string) ([]byte, error) { return db.peek(ctx, kind, id) })
	switch {
	case err != nil:
		c.Add("history", checkup.Bad, "", "%v", err)
	case b != nil:
		at := " --data " + string(dir)
		c.Add("history", checkup.Bad, "tidemark status"+at+" says what to do: start it with --restored, with --restored --undo, or put the newer database back",
			"nothing is served since %s: %s", b.At.Local().Format(time.DateTime), b)
	}
}

// reach asks whether a hub's own address leads to anything.
func (c *exam) reach(ctx context.Context, at string) {
	d := net.Dialer{Timeout: reachTimeout}
	conn, err := d.DialContext(ctx, "tcp", checkup.Host(at))
	if err != nil {
		c.Add("serving", checkup.Bad, "hub.url of tidemark.yaml must lead here, from where the devices are", "%s cannot be reached from here: %v", at, err)
		return
	}
	_ = conn.Close()
	c.Add("serving", checkup.Good, "", "at %s", at)
}

// CheckConfig compares a configuration with the tables of a SQLite file. Faults
// come as config.Faults.
func CheckConfig(conf *config.Config, file string) (err error) {
	conn, err := sqlite.Open(file, sqlite.Options{ReadOnly: true, MustExist: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	names, _, err := sqlite.TableNames(conn)
	if err != nil {
		return fmt.Errorf("look at %s: %w", file, err)
	}
	schema, err := sqlite.Describe(conn, names)
	if err != nil {
		return fmt.Errorf("look at %s: %w", file, err)
	}
	return conf.ValidateAgainst(&schema)
}
