package cache

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// metered counts one request by the server's own clock: KEYS[1] holds up to when
// somebody's time is used up. It returns 0, or how long to wait, and counts nothing.
const metered = `local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local room, each = tonumber(ARGV[1]), tonumber(ARGV[2])
local at = tonumber(redis.call('GET', KEYS[1]) or now)
if at < now then at = now end
if at - now > room then return at - now - room end
at = at + each
redis.call('SET', KEYS[1], string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
return 0`

// Take counts one request of somebody's, in all processes that share the server: they
// may be ahead of the clock by room at most, and each takes up so much time. It returns
// zero, or how long to wait. ok is false when the server does not answer: then nothing
// is known. Names do not go to the server as they are.
func (r *Redis) Take(ctx context.Context, who string, room, each time.Duration) (wait time.Duration, ok bool) {
	name := hmac.New(sha256.New, r.cfg.Secret)
	name.Write([]byte("tidemark rate\x00" + who))
	key := "rate:" + hex.EncodeToString(name.Sum(nil)[:16])
	err := r.do(ctx, func(ctx context.Context) error {
		us, err := r.client.Eval(ctx, metered, []string{key}, room.Microseconds(), each.Microseconds()).Int64()
		wait = time.Duration(us) * time.Microsecond
		return err
	})
	return wait, err == nil
}
