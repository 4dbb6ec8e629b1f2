package rule

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

func TestTableFoldsCase(t *testing.T) {
	r := &Rules{Tables: []Table{{Name: "Orders"}}}
	if got := r.Table("oRDERS"); got == nil || got.Name != "Orders" {
		t.Errorf("got %v", got)
	}
	if got := r.Table("order"); got != nil {
		t.Errorf("got %v", got)
	}
}

// A column of the rule without a policy of its own follows its table, and that,
// without one, the default.
func TestPolicyOfColumnWithoutOne(t *testing.T) {
	tb := &Table{Columns: map[string]Column{"note": {}}}
	if got := tb.PolicyOf("Note"); got != Latest {
		t.Errorf("got %s", got)
	}
	tb.Policy = Manual
	if got := tb.PolicyOf("Note"); got != Manual {
		t.Errorf("got %s", got)
	}
}

// Scope ids keep the storage class apart only where it shows: 7 and '7' are one
// scope, 7.0 is another.
func TestScopeOfEachKind(t *testing.T) {
	for _, c := range []struct {
		v    change.Value
		want ScopeID
	}{
		{change.Int(7), "branch/7"},
		{change.Text("7"), "branch/7"},
		{change.Float(7), "branch/7.0"},
		{change.Text("a/b c"), "branch/a/b c"},
		{change.Blob([]byte("x")), "branch/x"},
	} {
		if got := Of("branch", c.v); got != c.want {
			t.Errorf("Of(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}

func TestVerbs(t *testing.T) {
	if Write&Read != 0 || Every != Read|Insert|Update|Delete {
		t.Error("writing is everything but reading")
	}
}
