package rule

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func TestPolicyOf(t *testing.T) {
	r := Rules{Tables: []Table{{Name: "Stock", Policy: Hub, Columns: map[string]Column{"qty": {Policy: Counter}, "note": {}}}, {Name: "plain"}}}
	st := r.Table("STOCK")
	if st == nil || r.Table("absent") != nil {
		t.Fatal("tables are found whatever the case, and only those")
	}
	for col, want := range map[string]Policy{"QTY": Counter, "note": Hub, "other": Hub} {
		if got := st.PolicyOf(col); got != want {
			t.Errorf("%s: %s, want %s", col, got, want)
		}
	}
	if got := r.Table("plain").PolicyOf("x"); got != Latest {
		t.Errorf("default is %s", got)
	}
}

func TestCommutingPoliciesAreComputed(t *testing.T) {
	for p, want := range map[Policy]bool{Latest: false, Arrival: false, Hub: false, Edge: false, Counter: true, Min: true, Max: true, Set: true, TextMix: false, States: false, Manual: false} {
		if p.Commutes() != (want && p != Set) || p.Computed() != want {
			t.Errorf("%s: commutes %v, computed %v", p, p.Commutes(), p.Computed())
		}
	}
}

func TestScopeOfAValue(t *testing.T) {
	for want, v := range map[ScopeID]change.Value{"branch/7": change.Int(7), "branch/x y": change.Text("x y"), "": change.Null, "branch/1.5": change.Float(1.5)} {
		if got := Of("branch", v); got != want {
			t.Errorf("%v gives %q, want %q", v, got, want)
		}
	}
}
