package spell

import "testing"

func TestNearest(t *testing.T) {
	words := []string{"latest", "arrival", "hub", "edge", "counter", "min", "max", "set"}
	for word, want := range map[string]string{
		"lates": "latest", "latset": "latest", "LATEST": "latest", "coutner": "counter",
		"mix": "min", "sett": "set", "zebra": "", "": "", "h": "", "arrive": "arrival", "hub": "hub",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestHint(t *testing.T) {
	if got := Hint("lates", []string{"latest"}); got != `; did you mean "latest"?` {
		t.Error(got)
	}
	if got := Hint("lates", nil); got != "" {
		t.Error(got)
	}
}
