package hub_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Redis is killed while devices bootstrap and somebody writes, and comes back empty:
// they all get what the hub has.
func TestBootstrapsOutliveRedis(t *testing.T) {
	server := pgtest.NewRedis(t)
	shared, err := cache.NewRedis(cache.RedisConfig{URL: server.URL(), Secret: []byte("a secret of this hub"), Memory: cache.NewMemory(1), // none fits
		Clock: clock.System{}, Rand: rand.Reader, Within: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	var store *counted
	w := newWorld(t, cached(shared, &store))
	w.products(120)
	const crowd = 12
	var sites []*site
	var next []*wire.Fetch
	for i := range crowd {
		sites, next = append(sites, w.device(fmt.Sprint("device", i), everywhere)), append(next, &wire.Fetch{Window: 1})
	}
	store.scans.Store(0)
	for round, open := 0, crowd; open > 0; round++ {
		switch round {
		case 2:
			if n := store.scans.Load(); n > 24 {
				t.Errorf("two chunks for %d devices took %d scans: they share nothing", crowd, n)
			}
			server.Kill(t)
		case 4:
			server.Start(t)
		}
		w.sql(fmt.Sprintf("UPDATE product SET price=-%d WHERE id='p%04d'", round+1, round*7%120))
		for i, s := range sites {
			if next[i] == nil {
				continue
			}
			if next[i], err = s.fetchOn(next[i], nil); err != nil {
				t.Fatal(err)
			}
			if next[i] == nil {
				open--
			}
		}
	}
	for _, s := range sites {
		s.pulled(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Echo: true}))
		s.same("product", "1")
	}
}
