package postgresstore

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// ring is a log that closes a channel at the first line.
type ring struct {
	slog.Handler
	rung chan string
}

func (ring) Enabled(context.Context, slog.Level) bool { return true }

func (r ring) Handle(_ context.Context, rec slog.Record) error {
	r.rung <- rec.Message
	return nil
}

// A commit that no standby confirms waits for ever: the log says it meanwhile.
func TestACommitThatNobodyConfirmsIsInTheLog(t *testing.T) {
	server := pgtest.Own(t, pgtest.Options{Settings: []string{"synchronous_commit=on"}})
	dsn := server.Database(t)
	s, err := Open(t.Context(), Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	direct, err := reach(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = direct.Close(context.Background()) }()
	if _, err := exec(t.Context(), direct, "CREATE TABLE thing (n int)"); err != nil {
		t.Fatal(err)
	}
	said := ring{slog.DiscardHandler, make(chan string, 100)}
	standby := func(name string) {
		t.Helper()
		for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '" + name + "'", "SELECT pg_reload_conf()"} {
			if _, err := exec(t.Context(), direct, sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	standby("nobody")
	ended, stop := make(chan error, 1), make(chan struct{})
	write := func() error { // the setting is in force a moment later
		defer watch(slog.New(said), 200*time.Millisecond)()
		return s.Update(context.Background(), func(u hub.Tx) error {
			_, err := exec(context.Background(), u.(*tx).c, "INSERT INTO thing VALUES (1)")
			return err
		})
	}
	go func() {
		for {
			err := write()
			select {
			case <-stop:
			default:
				if err == nil {
					continue
				}
			}
			ended <- err
			return
		}
	}()
	select {
	case word := <-said.rung:
		t.Log(word)
	case err := <-ended:
		t.Fatalf("a write ended before: %v", err)
	}
	close(stop)
	standby("")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	quiet := ring{slog.DiscardHandler, make(chan string, 1)}
	watch(slog.New(quiet), time.Minute)()
	if len(quiet.rung) != 0 {
		t.Error("it speaks of what did not take long")
	}
}
