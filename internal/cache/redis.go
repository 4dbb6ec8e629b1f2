package cache

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/tidemark-sync/tidemark/internal/clock"
)

// RedisConfig is what a Redis needs.
type RedisConfig struct {
	URL    string // redis://[user:password@]host[:port]/[db], rediss:// or unix://
	Secret []byte // of the hub, the same in all its processes; 16 bytes or more
	Memory *Memory
	Clock  clock.Clock
	Rand   io.Reader
	Logger *slog.Logger // nil: silent

	Expiry time.Duration // of a value; 0 means DefaultExpiry
	Lease  time.Duration // for making one; 0 means DefaultLease
	Within time.Duration // one command must be done; 0 means DefaultWithin
}

// The defaults of RedisConfig, and its bounds.
const (
	DefaultExpiry = 10 * time.Minute
	DefaultLease  = 5 * time.Second
	DefaultWithin = 250 * time.Millisecond // a cache that is slow is none

	redisPause = 2 * time.Second       // without Redis after it failed
	redisLook  = 20 * time.Millisecond // for what another process makes
	redisEntry = 8 << 20               // the largest value filed there, in bytes
)

// Redis shares values with other processes, through a server that may be slow, empty,
// full or gone: then everybody makes their own. Its methods may be called concurrently.
type Redis struct {
	cfg    RedisConfig
	client *redis.Client
	seal   *seal
	log    *slog.Logger

	mu    sync.Mutex
	until time.Time // guarded by mu: no command is sent before
}

// NewRedis makes a cache. It connects when it is used: a server that is not there is
// no error.
func NewRedis(cfg RedisConfig) (*Redis, error) {
	o, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return nil, errors.New("redis: want an address like redis://host:6379/0, rediss://host:6379/0 or unix:///path") // its own words may hold a password
	}
	if cfg.Within <= 0 {
		cfg.Within = DefaultWithin
	}
	o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = cfg.Within, cfg.Within, cfg.Within, cfg.Within
	redis.SetLogger(&logging.VoidLogger{}) // it writes to standard error what its errors say, too
	r := &Redis{cfg: cfg, client: redis.NewClient(o), log: cfg.Logger}
	if r.seal, err = newSeal(cfg.Secret, cfg.Rand); err != nil {
		return nil, errors.Join(fmt.Errorf("redis: %w", err), r.client.Close())
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.cfg.Expiry <= 0 {
		r.cfg.Expiry = DefaultExpiry
	}
	if r.cfg.Lease <= 0 {
		r.cfg.Lease = DefaultLease
	}
	return r, nil
}

// Close ends the connections.
func (r *Redis) Close() error { return r.client.Close() }

// Get is Memory.Get across processes.
func (r *Redis) Get(ctx context.Context, key string, fill func(context.Context) ([]byte, error)) ([]byte, error) {
	return r.cfg.Memory.Get(ctx, key, func(ctx context.Context) ([]byte, error) {
		value, token := r.look(ctx, key)
		if value != nil {
			return value, nil
		}
		value, err := fill(ctx)
		if token != "" {
			if err != nil {
				value = nil
			}
			r.file(ctx, key, token, value)
		}
		return value, err
	})
}

// look returns a value that is there, or that another process makes within its lease.
// Otherwise the caller makes it, and files it when it got a token.
func (r *Redis) look(ctx context.Context, key string) (value []byte, token string) {
	mine, err := r.token()
	if err != nil {
		return nil, ""
	}
	look := time.NewTicker(redisLook)
	defer look.Stop()
	useless := false
	for waited := time.Duration(0); waited <= r.cfg.Lease; waited += redisLook {
		b, leased, err := r.claim(ctx, key, mine, useless)
		switch {
		case err != nil:
			return nil, ""
		case leased:
			return nil, mine
		case b != nil:
			if value, err = r.seal.open(key, b); err == nil {
				return value, ""
			}
			r.log.Warn("value in redis", "error", err.Error()) // it is made anew, and replaced
			useless = true
			continue
		}
		select {
		case <-ctx.Done():
			return nil, ""
		case <-look.C:
		}
	}
	return nil, ""
}

// claimed returns the value, or 1 when the lease was taken, or 0 when somebody else
// has it. It is one step, so that nobody makes what was filed a moment ago. With
// ARGV[3] the value that is there does not count.
const claimed = `if ARGV[3] == '' then
	local value = redis.call('GET', KEYS[1])
	if value then return value end
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0`

func (r *Redis) claim(ctx context.Context, key, token string, useless bool) (b []byte, leased bool, err error) {
	ignore := ""
	if useless {
		ignore = "1"
	}
	err = r.do(ctx, func(ctx context.Context) error {
		got, err := r.client.Eval(ctx, claimed, []string{valueKey(key), leaseKey(key)}, token, r.cfg.Lease.Milliseconds(), ignore).Result()
		switch got := got.(type) {
		case string:
			b = []byte(got)
		case int64:
			leased = got == 1
		}
		return err
	})
	return b, leased, err
}

// token tells one lease from another.
func (r *Redis) token() (string, error) {
	var raw [16]byte
	r.seal.mu.Lock()
	defer r.seal.mu.Unlock()
	_, err := io.ReadFull(r.seal.rand, raw[:])
	return hex.EncodeToString(raw[:]), err
}

// fenced files a value, and gives the lease back, for who still has it: one who was
// held up until the lease was somebody else's changes nothing.
const fenced = `if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1`

// file files a value under a lease, or with nil gives the lease back.
func (r *Redis) file(ctx context.Context, key, token string, value []byte) {
	var b []byte
	if value != nil && len(value) <= redisEntry {
		var err error
		if b, err = r.seal.close(key, value); err != nil {
			b = nil
		}
	}
	// Whoever asked may be gone: others wait for it.
	_ = r.do(context.WithoutCancel(ctx), func(ctx context.Context) error {
		return r.client.Eval(ctx, fenced, []string{valueKey(key), leaseKey(key)}, token, b, r.cfg.Expiry.Milliseconds()).Err()
	}) // who cannot file it has it all the same
}

// The keys of one value are in one slot of a cluster.
func valueKey(key string) string { return "{" + key + "}:value" }
func leaseKey(key string) string { return "{" + key + "}:lease" }

// errPaused means that Redis failed a moment ago.
var errPaused = errors.New("redis is left alone for a while")

// do runs one command, unless Redis failed a moment ago.
func (r *Redis) do(ctx context.Context, fn func(context.Context) error) error {
	now := r.cfg.Clock.Now()
	r.mu.Lock()
	wait := r.until.Sub(now)
	r.mu.Unlock()
	if wait > 0 && wait <= redisPause { // a clock that was set back does not keep it away
		return errPaused
	}
	short, cancel := context.WithTimeout(ctx, r.cfg.Within)
	defer cancel()
	err := fn(short)
	if err == nil || ctx.Err() != nil {
		return err
	}
	r.mu.Lock()
	r.until = now.Add(redisPause)
	r.mu.Unlock()
	r.log.Warn("redis failed; this process goes on by itself", "error", err.Error())
	return err
}
