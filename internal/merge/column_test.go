package merge

import (
	"math"
	"strings"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

func at(v change.Value, hlc change.HLC, origin byte) Versioned {
	return Versioned{Value: v, HLC: hlc, Origin: change.Incarnation{origin}}
}

func TestColumn(t *testing.T) {
	null, one, two, five := change.Null, change.Int(1), change.Int(2), change.Int(5)
	real, txt := change.Float, change.Text
	for _, c := range []struct {
		name            string
		p               rule.Policy
		base, hub, edge change.Value
		want            change.Value
		winner          Side
	}{
		{"counter adds both", rule.Counter, five, change.Int(3), change.Int(4), two, Both},
		{"counter counts equal edits twice", rule.Counter, five, change.Int(4), change.Int(4), change.Int(3), Both},
		{"counter from null", rule.Counter, null, two, five, change.Int(7), Both},
		{"counter hub null", rule.Counter, one, null, five, change.Int(4), Both},
		{"counter all null", rule.Counter, null, null, null, null, Both},
		{"counter real", rule.Counter, one, real(1.5), two, real(2.5), Both},
		{"counter steps may overflow", rule.Counter, change.Int(math.MinInt64), change.Int(math.MinInt64), change.Int(math.MaxInt64), change.Int(math.MaxInt64), Both},
		{"min", rule.Min, null, five, two, two, Edge},
		{"min keeps", rule.Min, null, one, two, one, Hub},
		{"min null loses", rule.Min, one, null, five, five, Edge},
		{"max null loses", rule.Max, one, five, null, five, Hub},
		{"max text above number", rule.Max, null, change.Int(9), txt("1"), txt("1"), Edge},
		{"max beyond 2^53", rule.Max, null, change.Int(1<<53 + 1), real(1 << 53), change.Int(1<<53 + 1), Hub},
		{"set union", rule.Set, txt(`["a"]`), txt(`["a","b"]`), txt(`["c","a"]`), txt(`["a","b","c"]`), Both},
		{"set removals", rule.Set, txt(`["a","b","c"]`), txt(`["b","c"]`), txt(`["a","b"]`), txt(`["b"]`), Both},
		{"set keeps spelling", rule.Set, null, txt(`[1.0,{"b":2,"a":1}]`), txt(`["<&>",12345678901234567890]`), txt(`[1.0,12345678901234567890,"<&>",{"a":1,"b":2}]`), Both},
		{"set null is empty", rule.Set, null, null, txt(`[true,false,null]`), txt(`[null,false,true]`), Both},
		{"set sorts numbers by value", rule.Set, null, txt(`[10]`), txt(`[9,[1]]`), txt(`[9,10,[1]]`), Both},
		{"set emptied", rule.Set, txt(`[1,2]`), txt(`[1]`), txt(`[2]`), txt(`[]`), Both},
		{"set equal", rule.Set, null, txt(`[2, 1]`), txt(`[2, 1]`), txt(`[2, 1]`), Both},
		{"latest equal", rule.Latest, null, one, one, one, Both},
		{"manual equal", rule.Manual, null, one, one, one, Both},
		{"states step", rule.States, txt("new"), txt("open"), txt("done"), txt("done"), Edge},
		{"states equal", rule.States, txt("new"), txt("void"), txt("void"), txt("void"), Both},
		{"text unchanged hub", rule.TextMix, txt("a"), txt("a"), txt("b"), txt("b"), Edge},
		{"text unchanged edge", rule.TextMix, txt("a"), txt("b"), txt("a"), txt("b"), Hub},
	} {
		out := Column(c.p, steps, c.base, at(c.hub, 2, 1), at(c.edge, 1, 2))
		if out.Park != "" || out.Value != c.want || out.Winner != c.winner {
			t.Errorf("%s: got %v by %v, park %q; want %v by %v", c.name, out.Value, out.Winner, out.Park, c.want, c.winner)
		}
	}
}

func TestColumnByTimeAndPlace(t *testing.T) {
	h, e := change.Text("h"), change.Text("e")
	for _, c := range []struct {
		name      string
		p         rule.Policy
		hub, edge Versioned
		winner    Side
	}{
		{"latest: later edge", rule.Latest, at(h, 1, 1), at(e, 2, 0), Edge},
		{"latest: later hub", rule.Latest, at(h, 2, 0), at(e, 1, 1), Hub},
		{"latest is the default", "", at(h, 2, 0), at(e, 1, 1), Hub},
		{"latest: tie by origin", rule.Latest, at(h, 1, 1), at(e, 1, 2), Edge},
		{"latest: tie by origin, hub", rule.Latest, at(h, 1, 2), at(e, 1, 1), Hub},
		{"latest: tie by value", rule.Latest, at(h, 1, 1), at(e, 1, 1), Hub},
		{"arrival", rule.Arrival, at(h, 9, 1), at(e, 1, 1), Edge},
		{"edge", rule.Edge, at(h, 9, 1), at(e, 1, 1), Edge},
		{"hub", rule.Hub, at(h, 1, 1), at(e, 9, 1), Hub},
	} {
		for name, out := range map[string]Outcome{
			"column": Column(c.p, rule.Column{}, change.Null, c.hub, c.edge),
			"row":    Row(c.p, c.hub, c.edge),
		} {
			won, lost := c.hub, c.edge
			if c.winner == Edge {
				won, lost = lost, won
			}
			if out.Winner != c.winner || out.Value != won.Value || out.Lost == nil || *out.Lost != lost {
				t.Errorf("%s, %s: got %+v", c.name, name, out)
			}
		}
	}
}

func TestColumnParks(t *testing.T) {
	txt := change.Text
	for _, c := range []struct {
		name            string
		p               rule.Policy
		base, hub, edge change.Value
		want            string
	}{
		{"counter overflow", rule.Counter, change.Int(0), change.Int(math.MaxInt64), change.Int(1), "does not fit into 64 bits"},
		{"counter text", rule.Counter, change.Int(0), change.Int(1), txt("7"), "'7' is text, not a number"},
		{"counter blob base", rule.Counter, change.Blob([]byte{1}), change.Int(1), change.Int(2), "x'01' is blob"},
		{"counter inf", rule.Counter, change.Float(0), change.Float(math.MaxFloat64), change.Float(math.MaxFloat64), "not a finite number"},
		{"set not json", rule.Set, change.Null, txt("["), txt("[]"), "not a JSON array"},
		{"set object", rule.Set, change.Null, txt("{}"), txt("[]"), "not a JSON array"},
		{"set json null", rule.Set, change.Null, txt("null"), txt("[]"), "not a JSON array: null"},
		{"set tail", rule.Set, change.Null, txt("[] []"), txt("[]"), "text follows it"},
		{"set bad utf-8", rule.Set, change.Null, txt("[\"\xff\"]"), txt("[]"), "not valid UTF-8"},
		{"set number", rule.Set, change.Int(1), txt("[1]"), txt("[]"), "integer, not a JSON array"},
		{"states", rule.States, txt("new"), txt("void"), txt("open"), `from "void" to "open" is not allowed (allowed next: none)`},
		{"states list", rule.States, txt("new"), txt("new"), txt("done"), "allowed next: open, void"},
		{"states of other kinds", rule.States, txt("new"), change.Null, change.Int(3), `from "" to "3"`},
		{"manual", rule.Manual, change.Null, change.Int(1), txt(strings.Repeat("ä", 100)), "a person to decide between 1 at the hub and 'ää"},
		{"unknown", "lates", change.Null, change.Int(1), change.Int(2), `policy "lates" cannot decide`},
	} {
		out := Column(c.p, steps, c.base, at(c.hub, 1, 1), at(c.edge, 2, 2))
		if !strings.Contains(out.Park, c.want) {
			t.Errorf("%s: park %q, want …%q…", c.name, out.Park, c.want)
		}
		if len(out.Park) > 300 || !strings.HasPrefix(out.Park, strings.Split(c.name, " ")[0]) && c.name != "unknown" {
			t.Errorf("%s: reason should be short and start with the policy: %q", c.name, out.Park)
		}
	}
	if out := Row(rule.Counter, at(change.Int(1), 1, 1), at(change.Int(2), 1, 1)); out.Park == "" {
		t.Error("a row cannot be merged by a counter")
	}
}

func TestOverlay(t *testing.T) {
	for _, c := range []struct {
		name                 string
		p                    rule.Policy
		hub, base, new, want change.Value
	}{
		{"plain shows the edit", rule.Latest, change.Int(9), change.Int(1), change.Int(2), change.Int(2)},
		{"text shows the edit", rule.TextMix, change.Text("x"), change.Text("a"), change.Text("b"), change.Text("b")},
		{"counter shows the hub's and mine", rule.Counter, change.Int(90), change.Int(100), change.Int(99), change.Int(89)},
		{"max", rule.Max, change.Int(9), change.Int(1), change.Int(2), change.Int(9)},
		{"set", rule.Set, change.Text("[1]"), change.Text("[]"), change.Text("[2]"), change.Text("[1,2]")},
		{"unappliable shows the edit", rule.Counter, change.Int(9), change.Int(1), change.Text("many"), change.Text("many")},
	} {
		if got := Overlay(c.p, c.hub, c.base, c.new); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestAllowed(t *testing.T) {
	col := rule.Column{States: map[string][]string{"": {"1"}, "1": {"2", ""}}}
	for _, c := range []struct {
		from, to change.Value
		want     bool
	}{
		{change.Null, change.Int(1), true},
		{change.Int(1), change.Text("2"), true},
		{change.Int(1), change.Null, true},
		{change.Int(2), change.Int(1), false},
		{change.Int(2), change.Int(2), true},
	} {
		if got := Allowed(col, c.from, c.to); got != c.want {
			t.Errorf("Allowed(%v, %v) = %v", c.from, c.to, got)
		}
	}
}

func TestSideString(t *testing.T) {
	if got := Both.String() + Hub.String() + Edge.String() + Side(9).String(); got != "bothhubedgeside?" {
		t.Error(got)
	}
}
