package main

import (
	"testing"

	"github.com/tidemark-sync/tidemark/internal/api"
)

func TestStatusSaysHowReplicasFare(t *testing.T) {
	got := replicaFacts([]api.Replica{{Address: "postgres://db2/shop", Reads: 1}, {Address: "postgres://db3/shop", Reads: 7, Fault: "it lags behind the primary"}, {Address: "postgres://db4/shop"}})
	want := []string{"postgres://db2/shop, serves: 1 read", "postgres://db3/shop, not read: it lags behind the primary", "postgres://db4/shop, nothing was read there yet"}
	for i, w := range want {
		if got[i][1] != w {
			t.Errorf("%q, want %q", got[i][1], w)
		}
	}
}
