package config

import (
	"strings"
	"testing"
)

// Addresses of replicas may hold passwords, too: no fault repeats one, and each says
// which of them it is about.
func TestReplicaAddresses(t *testing.T) {
	c, err := Parse([]byte("hub: {replicas: ['postgres://hub@two/shop', '${THIRD}']}"))
	if err != nil || len(c.Hub.Database.Replicas) != 2 {
		t.Fatalf("%v, %v", c, err)
	}
	if c, err = Parse([]byte("hub: {replicas: postgres://hub@two/shop}")); err != nil || len(c.Hub.Database.Replicas) != 1 {
		t.Fatalf("one alone: %v, %v", c, err)
	}
	_, err = Parse([]byte("hub: {replicas: ['postgres://hub@two/shop', 'mysql://hub:geheim@three']}"))
	if err == nil || strings.Contains(err.Error(), "geheim") || !strings.Contains(err.Error(), "hub.replicas[1]") || !strings.Contains(err.Error(), "postgres://") {
		t.Errorf("another database: %v", err)
	}
}

func TestRateHasBounds(t *testing.T) {
	for text, good := range map[string]bool{"600": true, "30": true, "29": false, "0": false, "many": false} {
		c, err := Parse([]byte("hub: {limits: {rate: " + text + "}}"))
		if (err == nil) != good {
			t.Errorf("rate %s: %v", text, err)
		}
		if good && c.Hub.Limits.Rate == 0 {
			t.Errorf("rate %s is not set", text)
		}
	}
}
