package serve

import (
	"fmt"
	"os"

	"github.com/tidemark-sync/tidemark/internal/cache"
	"github.com/tidemark-sync/tidemark/internal/config"
	"github.com/tidemark-sync/tidemark/internal/hub"
)

// chunks is what devices that bootstrap share: kept in memory, and in Redis with the
// hub's other processes when there is one.
type chunks struct {
	hub.Chunks
	memory *cache.Memory
	deltas *cache.Memory // of this process alone: what its sessions are woken for
	redis  *cache.Redis  // nil when there is none
}

// deltaBytes is how much is kept of deltas: each is asked for within moments, or never.
const deltaBytes = 16 << 20

func openChunks(cfg OfficeConfig, conf *config.Config, secret []byte) (chunks, error) {
	c := chunks{memory: cache.NewMemory(int64(conf.Hub.Limits.Cache)), deltas: cache.NewMemory(deltaBytes)}
	c.Chunks = c.memory
	if conf.Hub.Redis == "" {
		return c, nil
	}
	url, err := config.Expand(conf.Hub.Redis, os.LookupEnv)
	if err != nil {
		return c, fmt.Errorf("hub.redis: %w", err)
	}
	c.redis, err = cache.NewRedis(cache.RedisConfig{URL: url, Secret: secret, Memory: c.memory, Clock: cfg.Clock, Rand: cfg.Rand, Logger: cfg.Logger})
	if err != nil {
		return c, fmt.Errorf("hub.redis: %w", err)
	}
	c.Chunks = c.redis
	return c, nil
}

func (c *chunks) close() error {
	if c.redis == nil {
		return nil
	}
	return c.redis.Close()
}
