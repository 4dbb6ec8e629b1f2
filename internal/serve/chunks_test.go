package serve

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark-sync/tidemark/internal/pgtest"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// Parts of bootstraps are shared through Redis, and without it, too.
func TestChunksGoThroughRedisWhileItIsThere(t *testing.T) {
	server := pgtest.NewRedis(t)
	t.Setenv("TEST_CACHE", server.URL())
	shared := strings.Replace(shopYAML, "tables:", "hub: {redis: '${TEST_CACHE}'}\ntables:", 1)
	d := newDeskOn(t, shared)
	d.ask(&wire.Fetch{Window: 8})
	first := d.out[0].(*wire.Chunk)
	o, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	names, err := c.Keys(t.Context(), "{chunk:*").Result()
	if err != nil || len(names) != 1 {
		t.Errorf("in redis: %v, %v", names, err)
	}
	server.Kill(t)
	sh(t, d.hub.Dir().DB(), "UPDATE item SET note='after the end of redis' WHERE id='a'")
	d.p.peer = d.hub.Core().NewSession(d.p.device) // what another device would ask
	d.ask(d.hello())
	d.ask(&wire.Pull{}) // it holds a state: its bootstrap begins at the present one
	d.ask(&wire.Fetch{Window: 8})
	again := d.out[0].(*wire.Chunk)
	if len(again.Body) == 0 || len(first.Body) == 0 {
		t.Error("an empty chunk")
	}
}

func TestRedisThatCannotBeUsedIsAnError(t *testing.T) {
	for _, address := range []string{"${TIDEMARK_NOT_SET}", "redis://:geheim@host:x:y"} {
		w := newWorld(t)
		w.yaml("hub: {redis: '" + address + "'}\n" + shopYAML)
		cfg := w.config()
		cfg.ConfigFile, cfg.Import = w.path("tidemark.yaml"), w.path("app.db")
		h, err := NewHub(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "hub.redis") || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
