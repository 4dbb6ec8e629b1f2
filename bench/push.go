package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/edge"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	postgresstore "github.com/tidemark-sync/tidemark/internal/store/postgres"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
	"github.com/tidemark-sync/tidemark/internal/wire/transport"
)

// A center is a hub in this process, without a network.
type center struct {
	ground
	store hub.Store
	hub   *hub.Hub
}

// A ground is the database under a hub, as other programs see it.
type ground interface {
	// commit runs steps by plain SQL, each as a durable transaction.
	commit(list []step) error
	// hash is contentHash.
	hash() (string, int64, error)
}

// A hubStore is a store that says how its tables are made at edges.
type hubStore interface {
	hub.Store
	DDL(ctx context.Context) ([]string, error)
}

// openCenter makes a database of seed rows and opens a hub over it: on the server that
// dsn names, or in a file when there is none.
func openCenter(dir, dsn string, rows int) (*center, error) {
	r := rules()
	var store hubStore
	var g ground
	var err error
	if dsn != "" {
		if err := createServed(context.Background(), dsn, seedRows(rows).keyOrder()); err != nil {
			return nil, err
		}
		store, err = postgresstore.Open(context.Background(), postgresstore.Config{DSN: dsn, Rules: &r})
		g = serverGround(dsn)
	} else {
		g = fileGround(filepath.Join(dir, "hub.db"))
		store, err = openFile(filepath.Join(dir, "hub.db"), rows, &r)
	}
	if err != nil {
		return nil, err
	}
	return newCenter(store, g, &r)
}

func newCenter(store hubStore, g ground, r *rule.Rules) (*center, error) {
	h, err := hub.New(context.Background(), hub.Config{Store: store, Rules: r, DDL: store.DDL, Clock: clock.System{}, Rand: rand.Reader, Beside: transport.Beside})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &center{g, store, h}, nil
}

func openFile(path string, rows int, r *rule.Rules) (hubStore, error) {
	c, err := create(path, sqlite.Options{})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fill(c, seedRows(rows).keyOrder(), insertSQL), c.Close()); err != nil {
		return nil, err
	}
	return sqlitestore.Open(sqlitestore.Config{Path: path, Rules: r, Clock: clock.System{}, Rand: rand.Reader})
}

func (c *center) close() error { return c.store.Close() }

// device enrols one, with a key that is thrown away.
func (c *center) device(ctx context.Context, name string) (change.DeviceID, error) {
	inv, err := c.hub.AddDevice(ctx, name, nil, 0)
	if err != nil {
		return change.DeviceID{}, err
	}
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return change.DeviceID{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return change.DeviceID{}, err
	}
	id, _, err := c.hub.Join(ctx, inv.Secret, der)
	return id, err
}

// push measures the hub alone: from transactions in memory until they are
// durable, beside the raw upsert of the rows they lead to.
func (b *bench) push() (err error) {
	rows, n := b.size(seedSize), b.size(batch)
	plain, err := b.newRaw(rows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	l := line{Name: fmt.Sprintf("push: hub ingests %d transactions, %d row changes", n, n*stepRows), Limit: 1.7,
		Note: "ceiling is the raw upsert of the resulting rows, one commit"}
	return b.pushInto("", l, func() (string, error) { h, _, err := contentHash(plain.conn); return h, err },
		func(list []step) (time.Duration, error) { return b.upsert(plain, list) })
}

// pushInto measures pushes into a hub over a new database beside a ceiling, whose
// content must be the same in the end.
func (b *bench) pushInto(dsn string, l line, content func() (string, error), ceiling func(list []step) (time.Duration, error)) (err error) {
	ctx, rows, n := context.Background(), b.size(seedSize), b.size(batch)
	c, err := openCenter(b.dir, dsn, rows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	id, err := c.device(ctx, "bench")
	if err != nil {
		return err
	}
	author, err := b.newAuthor(c, id, rows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, author.close()) }()
	l, err = b.duel(l,
		func(round int) (time.Duration, error) { return ceiling(steps(n, rows, 1+round, 1)) },
		func(round int) (time.Duration, error) {
			txs, err := author.write(steps(n, rows, 1+round, 1))
			if err != nil {
				return 0, err
			}
			return b.stopwatch(func() error {
				res, err := c.hub.Push(ctx, id, txs)
				if err == nil && res.Durable < txs[len(txs)-1].Seq {
					err = fmt.Errorf("durable up to %d, not %d", res.Durable, txs[len(txs)-1].Seq)
				}
				return err
			})
		})
	if err != nil {
		return err
	}
	b.add(l)
	want, err := content()
	if err != nil {
		return err
	}
	return same(want, author.conn, c)
}

// An author is a file whose captured transactions are handed in by hand.
type author struct {
	conn   *sqlite.Conn
	engine *edge.Engine
	last   uint64 // seq of the last transaction handed out
}

func (b *bench) newAuthor(c *center, id change.DeviceID, rows int) (*author, error) {
	path := b.file()
	conn, err := create(path, sqlite.Options{})
	if err != nil {
		return nil, err
	}
	if err := fill(conn, seedRows(rows), insertSQL); err != nil {
		return nil, err
	}
	e, err := edge.Open(edge.Config{Path: path, Clock: clock.System{}, Rand: rand.Reader})
	if err != nil {
		return nil, err
	}
	_, err = e.Install(c.hub.Setup(), id, edge.InstallOptions{})
	return &author{conn: conn, engine: e}, err
}

// write commits steps, each as an application that names its transactions would,
// and returns what an edge would push.
func (a *author) write(list []step) ([]*change.Transaction, error) {
	for i := range list {
		if err := list[i].commitNamed(a.conn); err != nil {
			return nil, err
		}
	}
	if _, err := a.engine.Export(); err != nil {
		return nil, err
	}
	txs, err := a.engine.Outbox(a.last, 1<<30)
	if err != nil {
		return nil, err
	}
	if len(txs) != len(list) {
		return nil, fmt.Errorf("exported %d transactions of %d", len(txs), len(list))
	}
	a.last = txs[len(txs)-1].Seq
	return txs, nil
}

// same fails when the rows of a file, or of a hub, have another hash.
func same(want string, file *sqlite.Conn, hub ground) error {
	for name, look := range map[string]func() (string, int64, error){
		"edge": func() (string, int64, error) { return contentHash(file) },
		"hub":  hub.hash,
	} {
		got, n, err := look()
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("content check: the %s holds %d rows with hash %s, not %s", name, n, got, want)
		}
	}
	return nil
}

func (a *author) close() error { return errors.Join(a.engine.Close(), a.conn.Close()) }
