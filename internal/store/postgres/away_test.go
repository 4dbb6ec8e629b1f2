package postgresstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// Of three servers none takes writes: the operator reads one line, with each server once.
func TestWhoIsAwayIsSaidInOneLine(t *testing.T) {
	primary := pgtest.Own(t, pgtest.Options{})
	one := primary.Standby(t, pgtest.Options{})
	nobody := t.TempDir()
	_, err := reach(t.Context(), "postgres:///postgres?user=postgres&host="+one.Dir()+","+nobody)
	if !errors.Is(err, ErrStandby) {
		t.Fatalf("got %v", err)
	}
	said := err.Error()
	if strings.Contains(said, "\n") || strings.Count(said, one.Dir()) == 0 || !strings.Contains(said, ": a standby; ") || !strings.Contains(said, nobody) {
		t.Errorf("it says %q", said)
	}
	if _, err = reach(t.Context(), one.DSN("postgres")); err == nil || !strings.Contains(err.Error(), "name all servers in hub.database") || strings.Contains(err.Error(), "\n") {
		t.Errorf("a standby alone: %v", err)
	}
	if _, err = reach(t.Context(), "postgres://postgres@127.0.0.1:1/x"); err == nil || strings.Count(err.Error(), "127.0.0.1:1 ") != 1 {
		t.Errorf("nobody at all: %v", err)
	}
	if plain := errors.New("plain"); away(plain) != plain || away(nil) != nil { //nolint:errorlint // the very same
		t.Error("another error is changed")
	}
}
