package sim

import (
	"flag"
	"strings"
	"testing"
)

// histories is how many histories a test on a server plays: few, unless -seeds says
// how many.
func histories(few int) int {
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "seeds" {
			few = *seeds
		}
	})
	return few
}

// rareAtServers lists the states that the histories of `make test` on PostgreSQL must
// reach between them.
var rareAtServers = []string{
	"hub crashed in a call", "rebase full=true", "rebase full=false", "hub put back", "hub restored", "hub undone", "hub at version 3",
	"another process told", "a transaction lingered", "database server killed", "the database was lost in a call",
	"somebody wrote in the middle of a call", "a late process was off duty",
}

// TestSeedsPostgres plays histories whose hub is on PostgreSQL, some of them with more
// than one process, and checks what TestSeeds checks. A failing seed is a reproduction:
// go test ./internal/sim -run TestSeedsPostgres -args -seed N
func TestSeedsPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	if *only != 0 {
		s := startServer(t)
		d := dir(t)
		if _, err := Run(Options{Seed: *only, Dir: d, Families: Family(*force), base: s.base(*only), Log: func(s string) { t.Log(s) }}); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := histories(40)
	some, failed := playAll(t, stripe{First: *first, Last: *first + uint64(n) - 1, Families: Family(*force), Server: true})
	tell(t, n, some, failed)
	if n >= 40 {
		reached(t, some, rareAtServers)
	}
}

// startServer starts a server for one test.
func startServer(t *testing.T) *server {
	t.Helper()
	s, err := newServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Two runs of one seed give one trace, whatever numbers the server gives out.
func TestOneSeedOneTracePostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	s := startServer(t)
	for seed := uint64(1); seed <= 2; seed++ {
		var traces [2][]string
		for i := range traces {
			if _, err := Run(Options{Seed: seed, Dir: dir(t), base: s.base(seed), Log: func(s string) { traces[i] = append(traces[i], s) }}); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := strings.Join(traces[0], "\n"), strings.Join(traces[1], "\n"); a != b {
			t.Fatalf("seed %d: two runs, two traces: %s", seed, firstDifference(traces[0], traces[1]))
		}
	}
}
