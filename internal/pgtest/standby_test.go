package pgtest

import (
	"strings"
	"testing"
)

func TestAStandbyFollowsLagsAndTakesOver(t *testing.T) {
	s := Own(t, Options{})
	dsn := s.Database(t)
	ask(t, dsn, "CREATE TABLE thing AS SELECT 'first' AS word")
	c := s.Standby(t, Options{})
	name := strings.TrimPrefix(strings.Split(dsn, "?")[0], "postgres:///")
	ask(t, dsn, "UPDATE thing SET word = 'second' RETURNING word")
	c.Follow(t, s)
	if got := ask(t, c.DSN(name), "SELECT word FROM thing"); got != "second" {
		t.Errorf("the standby shows %q", got)
	}
	c.Pause(t)
	ask(t, dsn, "UPDATE thing SET word = 'third' RETURNING word")
	if got := ask(t, c.DSN(name), "SELECT word FROM thing"); got != "second" {
		t.Errorf("the paused standby shows %q", got)
	}
	c.Resume(t)
	c.Follow(t, s)
	c.Cut(t)
	ask(t, dsn, "UPDATE thing SET word = 'lost' RETURNING word")
	if got := ask(t, s.Pair(c, name), "SELECT word FROM thing"); got != "lost" {
		t.Errorf("the primary shows %q", got)
	}
	s.Kill(t)
	c.Promote(t)
	if got := ask(t, s.Pair(c, name), "UPDATE thing SET word = word || '!' RETURNING word"); got != "third!" {
		t.Errorf("after the promotion: %q", got)
	}
}
