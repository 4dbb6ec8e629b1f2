package postgresstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// What would fail for ever is somebody's quarantine, not everybody's stall (I11).
func TestI11_WhatFailsForEverIsAConstraint(t *testing.T) {
	dsn := pgtest.Database(t)
	run(t, connect(t, dsn), `CREATE TABLE word (id text PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, at date CHECK (at > '2000-01-01'));
		CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the till is closed' USING ERRCODE = 'TM001'; END $$;
		CREATE TRIGGER no BEFORE UPDATE ON word FOR EACH ROW WHEN (NEW.at = '2024-12-25') EXECUTE FUNCTION no();
		INSERT INTO word VALUES ('a')`)
	s := serve(t, Config{DSN: dsn, Rules: everything([]string{"word"})})
	r := rand.New(rand.NewPCG(1, 2))
	var long strings.Builder
	for range 10000 {
		fmt.Fprintf(&long, "%x", r.Uint64())
	}
	key := change.Key{change.Text("a")}
	set := func(column string, v change.Value) hub.Effect {
		return hub.Effect{Table: "word", Kind: change.Update, Key: key, Columns: []string{column}, Values: []change.Value{v}}
	}
	id := change.Text(long.String())
	for kind, e := range map[string]hub.Effect{
		"type: index row":           {Table: "word", Kind: change.Insert, Key: change.Key{id}, Columns: []string{"id"}, Values: []change.Value{id}},
		"type: column n is bigint":  set("n", change.Int(7)),
		"trigger: the till is clos": set("at", change.Text("2024-12-25")),
		"check: new row":            set("at", change.Text("1999-12-25")),
	} {
		kind, detail, _ := strings.Cut(kind, ": ")
		err := s.Update(t.Context(), func(tx hub.Tx) error {
			err := tx.Savepoint(func() error { return tx.Write(e) })
			var broken *hub.ConstraintError
			if !errors.As(err, &broken) || broken.Kind != kind || !strings.HasPrefix(broken.Detail, detail) {
				t.Errorf("want %s: %s, got %v", kind, detail, err)
			}
			return tx.Write(set("at", change.Text("2024-01-01"))) // and the others go on
		})
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, code := range []string{"53100", "57P01", "40001", "XX000", "08006", "42P01"} {
		var broken *hub.ConstraintError
		if errors.As(constraint("t", &pgconn.PgError{Code: code}), &broken) {
			t.Errorf("%s is trouble, not a rule that was broken", code)
		}
	}
}

func TestADatabaseWithoutAnEncodingIsRefused(t *testing.T) {
	server := pgtest.Server(t)
	admin := connect(t, server.DSN("postgres"))
	run(t, admin, `CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0`)
	run(t, admin, `CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
	t.Cleanup(func() {
		for _, n := range []string{"bytes", "latin"} {
			psql(t, server.DSN("postgres"), "DROP DATABASE "+n+" WITH (FORCE)")
		}
	})
	if _, err := Survey(t.Context(), server.DSN("bytes"), nil); err == nil || !strings.Contains(err.Error(), "SQL_ASCII") {
		t.Errorf("SQL_ASCII: %v", err)
	}
	run(t, connect(t, server.DSN("latin")), `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	if _, err := Survey(t.Context(), server.DSN("latin"), nil); err != nil {
		t.Error(err)
	}
	s := serve(t, Config{DSN: server.DSN("latin"), Rules: everything([]string{"t"})})
	put := func(id int64, text string) error {
		return s.Update(t.Context(), func(tx hub.Tx) error {
			return tx.Savepoint(func() error {
				return tx.Write(hub.Effect{Table: "t", Kind: change.Insert, Key: change.Key{change.Int(id)}, Columns: []string{"id", "v"}, Values: []change.Value{change.Int(id), change.Text(text)}})
			})
		})
	}
	if err := put(1, "grüße"); err != nil {
		t.Error(err)
	}
	var broken *hub.ConstraintError
	if err := put(2, "Ω"); !errors.As(err, &broken) || broken.Kind != "type" {
		t.Errorf("a letter that Latin 1 lacks: %v", err)
	}
	if rows := held(t, s)["t"]; len(rows) != 1 || rows["1"][1] != change.Text("grüße") {
		t.Errorf("rows %v", rows)
	}
}
