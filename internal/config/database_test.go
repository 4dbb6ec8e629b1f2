package config

import (
	"strings"
	"testing"
)

func TestExpandPutsVariablesIntoAnAddress(t *testing.T) {
	env := map[string]string{"PW": "p@ss:w/rd +%", "URL": "postgres://me:x@h/db"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	for in, want := range map[string]string{
		"postgres://me@h/db":       "postgres://me@h/db",
		"postgres://me:${PW}@h/db": "postgres://me:p%40ss%3Aw%2Frd%20%2B%25@h/db",
		"${URL}":                   "postgres://me:x@h/db",
		"postgres://me:$PW@h/db":   "postgres://me:$PW@h/db",
	} {
		if got, err := Expand(in, lookup); err != nil || got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	if _, err := Expand("postgres://me:${PW}@${HOST}/db", lookup); err == nil || !strings.Contains(err.Error(), "HOST") || strings.Contains(err.Error(), "p@ss") {
		t.Errorf("a variable that is not set: %v", err)
	}
}

func TestRedactLeavesNothingSecret(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://me:secret@h:5433/db?password=secret&sslmode=require": "postgres://me@h:5433/db",
		"postgres:///db?host=/run/pg&password=secret":                    "postgres:///db?host=%2Frun%2Fpg",
		"host=h password=secret":                                         "PostgreSQL",
		"postgres://me:secret@h:port/db":                                 "PostgreSQL",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%s: %q", in, got)
		}
	}
}

func TestADatabaseFaultRepeatsNothing(t *testing.T) {
	_, err := Parse([]byte("hub: {database: \"mysql://me:secret@h/db\"}"))
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "postgres://") {
		t.Errorf("got %v", err)
	}
}

func TestColumnTypes(t *testing.T) {
	d := Database{Types: []string{"Visit.Seen_At timestamp with time zone", " a.b numeric(10,2)"}}
	got, err := d.ColumnTypes()
	if err != nil || got["visit.seen_at"] != "timestamp with time zone" || got["a.b"] != "numeric(10,2)" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"visit.at", "at timestamptz", ""} {
		d.Types = []string{bad}
		if _, err := d.ColumnTypes(); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
