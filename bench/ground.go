package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// A fileGround is the path of a SQLite file.
type fileGround string

func (path fileGround) commit(list []step) (err error) {
	c, err := sqlite.Open(string(path), sqlite.Options{Full: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for i := range list {
		if err := list[i].commit(c); err != nil {
			return err
		}
	}
	return nil
}

func (path fileGround) hash() (string, int64, error) {
	c, err := sqlite.Open(string(path), sqlite.Options{ReadOnly: true})
	if err != nil {
		return "", 0, err
	}
	sum, n, err := contentHash(c)
	return sum, n, errors.Join(err, c.Close())
}

// A serverGround is the DSN of a PostgreSQL database.
type serverGround string

func (dsn serverGround) commit(list []step) (err error) {
	ctx := context.Background()
	c, err := pgx.Connect(ctx, string(dsn))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	for i := range list {
		if err := list[i].commitServed(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (dsn serverGround) hash() (string, int64, error) {
	return hashServed(context.Background(), string(dsn))
}
