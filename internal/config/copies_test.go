package config

import (
	"strings"
	"testing"
)

func TestCopiesIsOneOfTwoWords(t *testing.T) {
	for _, word := range []string{"allow", "hold"} {
		c, err := Parse([]byte("hub: {copies: " + word + "}\n"))
		if err != nil || c.Hub.Copies != word || c.Validate() != nil {
			t.Errorf("%s: %v, %v", word, c, err)
		}
	}
	c, err := Parse([]byte("hub: {copies: never}\n"))
	if err == nil {
		err = c.Validate()
	}
	if err == nil || !strings.Contains(err.Error(), "hub.copies") || !strings.Contains(err.Error(), "allow or hold") {
		t.Errorf("another word: %v", err)
	}
	if got := (Config{}).WithDefaults().Hub.Copies; got != DefaultCopies {
		t.Errorf("by default: %q", got)
	}
}
