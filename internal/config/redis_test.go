package config

import (
	"strings"
	"testing"
)

// The address of a Redis may hold a password: no fault repeats it.
func TestRedisAddresses(t *testing.T) {
	for address, good := range map[string]bool{
		"redis://user:geheim@cache:6379/0": true, "rediss://cache": true, "unix:///run/redis.sock": true, "${CACHE}": true,
		"http://:geheim@cache": false, "geheim": false,
	} {
		_, err := Parse([]byte("hub: {redis: '" + address + "'}"))
		if (err == nil) != good || err != nil && (strings.Contains(err.Error(), "geheim") || !strings.Contains(err.Error(), "redis://")) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
