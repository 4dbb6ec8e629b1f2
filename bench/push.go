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
	"github.com/tidemark-sync/tidemark/internal/sqlite"
	sqlitestore "github.com/tidemark-sync/tidemark/internal/store/sqlite"
)

// A center is a hub over a SQLite file, in this process, without a network.
type center struct {
	path  string
	store *sqlitestore.Store
	hub   *hub.Hub
}

// openCenter fills a new file with seed rows and opens a hub over it.
func openCenter(dir string, rows int) (*center, error) {
	path := filepath.Join(dir, "hub.db")
	c, err := create(path, sqlite.Options{})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fill(c, seedRows(rows).keyOrder(), insertSQL), c.Close()); err != nil {
		return nil, err
	}
	r := rules()
	store, err := sqlitestore.Open(sqlitestore.Config{Path: path, Rules: &r, Clock: clock.System{}, Rand: rand.Reader})
	if err != nil {
		return nil, err
	}
	h, err := hub.New(context.Background(), hub.Config{Store: store, Rules: &r, DDL: store.DDL, Clock: clock.System{}, Rand: rand.Reader})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &center{path, store, h}, nil
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
	ctx := context.Background()
	rows, n := b.size(seedSize), b.size(batch)
	plain, err := b.newRaw(rows)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	c, err := openCenter(b.dir, rows)
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
	l := line{Name: fmt.Sprintf("push: hub ingests %d transactions, %d row changes", n, n*stepRows), Limit: 1.7,
		Note: "ceiling is the raw upsert of the resulting rows, one commit"}
	l, err = b.duel(l,
		func(round int) (time.Duration, error) { return b.upsert(plain, steps(n, rows, 1+round, 1)) },
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
	return same(plain.conn, author.conn, c.path)
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

// same fails when a file's rows, or those of the file at path, are not want's.
func same(want, have *sqlite.Conn, path string) (err error) {
	third, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, third.Close()) }()
	hash, _, err := contentHash(want)
	if err != nil {
		return err
	}
	for name, c := range map[string]*sqlite.Conn{"edge": have, "hub": third} {
		got, n, err := contentHash(c)
		if err != nil {
			return err
		}
		if got != hash {
			return fmt.Errorf("content check: the %s holds %d rows with hash %s, not %s", name, n, got, hash)
		}
	}
	return nil
}

func (a *author) close() error { return errors.Join(a.engine.Close(), a.conn.Close()) }
