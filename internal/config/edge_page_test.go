package config

import (
	"strings"
	"testing"
)

// The page of an edge is for its own machine. What a name stands for shows when the
// agent starts.
func TestThePageIsForLoopback(t *testing.T) {
	for at, want := range map[string]string{
		"127.0.0.1:8441": "", "'[::1]:8441'": "", "localhost:8441": "", "till.internal:8441": "",
		"8441": "want an address of this machine alone", "127.0.0.1": "want an address of this machine alone", "127.0.0.1:x": "want an address of this machine alone",
		"':8441'": "can be reached from other machines", "0.0.0.0:8441": "can be reached from other machines", "'[::]:8441'": "can be reached from other machines",
		"10.0.0.7:8441": "can be reached from other machines",
	} {
		_, err := Parse([]byte("edge:\n  page: " + at + "\n"))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", at, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "edge.page")):
			t.Errorf("%s: %v, want %q", at, err, want)
		}
	}
}
