package pgtest

import (
	"strconv"
	"testing"
)

// A disk that is put back knows nothing of what came since, and gives out the same
// numbers again; what was committed outlives a crash.
func TestADiskIsPutBack(t *testing.T) {
	s, err := Run(t.Context(), Options{Settings: []string{"synchronous_commit=on"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn, err := s.Create(t.Context(), "disk")
	if err != nil {
		t.Fatal(err)
	}
	number := func() int {
		n, err := strconv.Atoi(ask(t, dsn, "INSERT INTO thing VALUES ('x') RETURNING pg_current_xact_id()::text"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	count := func(what, want string) {
		t.Helper()
		if got := ask(t, dsn, "SELECT count(*)::text FROM thing"); got != want {
			t.Errorf("%s: %s rows, want %s", what, got, want)
		}
	}
	ask(t, dsn, "CREATE TABLE thing (word text)")
	for range 2 { // the second copy takes the first one's place
		number()
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lost := number()
	if err := s.Crash(t.Context()); err != nil {
		t.Fatal(err)
	}
	count("after a crash", "3")
	if err := s.PutBack(t.Context()); err != nil {
		t.Fatal(err)
	}
	count("put back", "2")
	if again := number(); again != lost {
		t.Errorf("the transaction that was lost was number %d, the one in its place is %d", lost, again)
	}
}
