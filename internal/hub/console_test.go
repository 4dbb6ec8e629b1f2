package hub_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/wire"
)

// conflicts makes n receipts, a second apart: other's value of row p1 was overwritten.
func (w *world) conflicts(n int) (s, other *site) {
	w.t.Helper()
	s, other = w.site("till"), w.site("other")
	s.applies(ins("product", "p1", "tea", 0, "T"))
	for i := range n {
		other.pull()
		s.pull()
		w.clock.Advance(time.Second)
		other.do(upd("product", "p1", "price", i*10, i*10+1))
		w.clock.Advance(time.Second)
		s.merges(upd("product", "p1", "price", i*10, i*10+10))
	}
	return s, other
}

func (w *world) decisions(f hub.DecisionFilter) ([]hub.Decision, string) {
	w.t.Helper()
	list, next, err := w.hub.Decisions(w.ctx, f)
	w.must(err)
	return list, next
}

func TestDecisionsNewestFirstInPages(t *testing.T) {
	w := newWorld(t)
	s, other := w.conflicts(5)
	all := w.receipts()
	if len(all) != 5 {
		t.Fatalf("%d receipts", len(all))
	}
	var got []string
	for before, pages := "", 0; ; pages++ {
		list, next := w.decisions(hub.DecisionFilter{Before: before, Limit: 2})
		for _, d := range list {
			got = append(got, d.ID)
			if d.WinnerName != "till" || d.LoserName != "other" || d.DeviceName != "till" {
				t.Errorf("by %q, won %q, lost %q", d.DeviceName, d.WinnerName, d.LoserName)
			}
		}
		if before = next; next == "" {
			if pages != 2 {
				t.Errorf("%d pages", pages+1)
			}
			break
		}
	}
	for i := range all {
		if got[len(got)-1-i] != all[i].ID {
			t.Fatalf("order %v", got)
		}
	}
	for _, tc := range []struct {
		f    hub.DecisionFilter
		want int
	}{
		{hub.DecisionFilter{Table: "PRODUCT"}, 5}, {hub.DecisionFilter{Table: "mix"}, 0},
		{hub.DecisionFilter{Device: s.id}, 5}, {hub.DecisionFilter{Device: other.id}, 0},
		{hub.DecisionFilter{Search: "P1"}, 5}, {hub.DecisionFilter{Search: "31"}, 1}, {hub.DecisionFilter{Search: "zebra"}, 0},
		{hub.DecisionFilter{Table: "product", Key: change.Key{change.Text("p2")}}, 0},
		{hub.DecisionFilter{State: hub.NewReceipt}, 5}, {hub.DecisionFilter{State: hub.UndoneReceipt}, 0}, {hub.DecisionFilter{Kind: "delete"}, 0},
	} {
		if list, _ := w.decisions(tc.f); len(list) != tc.want {
			t.Errorf("%+v: %d, want %d", tc.f, len(list), tc.want)
		}
	}
}

func TestAcceptAndUndoLeaveNothingNew(t *testing.T) {
	w := newWorld(t)
	w.conflicts(3)
	all := w.receipts()
	n, err := w.hub.Accept(w.ctx, []string{all[0].ID, all[1].ID}, "mia", "seen")
	if err != nil || n != 2 {
		t.Fatalf("%d accepted, %v", n, err)
	}
	if n, err := w.hub.Accept(w.ctx, []string{all[0].ID}, "tom", ""); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	if _, err := w.hub.Accept(w.ctx, []string{all[2].ID, "nobody"}, "tom", ""); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	d, err := w.hub.Receipt(w.ctx, all[0].ID)
	w.must(err)
	if d.State() != hub.AcceptedReceipt || d.Accepted.By != "mia" || d.Accepted.Note != "seen" {
		t.Errorf("it is %+v", d.Accepted)
	}
	if _, err := w.hub.Receipt(w.ctx, "nobody"); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a receipt that is not there: %v", err)
	}
	h, err := w.hub.Status(w.ctx)
	w.must(err)
	if h.Receipts != 1 {
		t.Errorf("%d new receipts", h.Receipts)
	}
	if _, err := w.hub.Undo(w.ctx, all[2].ID, "mia"); err != nil {
		t.Fatal(err)
	}
	if list, _ := w.decisions(hub.DecisionFilter{State: hub.NewReceipt}); len(list) != 0 {
		t.Errorf("new: %+v", list)
	}
	if list, _ := w.decisions(hub.DecisionFilter{State: hub.AcceptedReceipt}); len(list) != 3 || list[0].Kind != "undo" {
		t.Errorf("an undo was somebody's own doing: %+v", list)
	}
	if h, err = w.hub.Status(w.ctx); err != nil || h.Receipts != 0 {
		t.Errorf("after the undo %d are new, %v", h.Receipts, err)
	}
	if list, _ := w.decisions(hub.DecisionFilter{State: hub.UndoneReceipt}); len(list) != 1 || list[0].ID != all[2].ID || list[0].UndoneBy != "mia" || !list[0].UndoneAt.Equal(w.clock.Now()) {
		t.Errorf("undone: %+v", list)
	}
	list, next := w.decisions(hub.DecisionFilter{Oldest: true, Limit: 2})
	if len(list) != 2 || list[0].ID != all[0].ID || list[1].ID != all[1].ID || next != all[1].ID {
		t.Errorf("the oldest two: %+v, next %s", list, next)
	}
	if list, next = w.decisions(hub.DecisionFilter{Oldest: true, Limit: 2, After: next}); len(list) != 2 || list[0].ID != all[2].ID || list[1].Kind != "undo" || next != "" {
		t.Errorf("the next two: %+v, next %s", list, next)
	}
}

// What stands in a row must not make a receipt look settled.
func TestNewReceiptsAreCountedWhateverTheValues(t *testing.T) {
	w := newWorld(t)
	s, other := w.site("till"), w.site("other")
	s.applies(ins("product", "p1", `,"undone":"x`, 0, "T"))
	other.pull()
	other.do(upd("product", "p1", "name", `,"undone":"x`, `","accepted":{`))
	w.clock.Advance(time.Second)
	s.merges(upd("product", "p1", "name", `,"undone":"x`, `,"accepted":{},"undone":"1"`))
	h, err := w.hub.Status(w.ctx)
	w.must(err)
	if h.Receipts != 1 {
		t.Errorf("%d new receipts", h.Receipts)
	}
}

func TestWhatIfReplaysUnderAnotherPolicy(t *testing.T) {
	w := newWorld(t)
	w.conflicts(4)
	for _, tc := range []struct {
		policy       rule.Policy
		differ, wait int
		would        change.Value
	}{
		{rule.Latest, 0, 0, change.Null}, {rule.Hub, 4, 0, change.Int(31)}, {rule.Edge, 0, 0, change.Null}, {rule.Min, 4, 0, change.Int(31)},
		{rule.Counter, 4, 0, change.Int(41)}, {rule.Manual, 0, 4, change.Null},
	} {
		got, err := w.hub.WhatIf(w.ctx, "product", "price", tc.policy, 0)
		w.must(err)
		if got.Looked != 4 || got.Differ != tc.differ || got.Wait != tc.wait || got.Untold != 0 || len(got.Cases) != tc.differ+tc.wait {
			t.Errorf("%s: %d looked at, %d differ, %d wait, %d untold", tc.policy, got.Looked, got.Differ, got.Wait, got.Untold)
		}
		if len(got.Cases) > 0 && got.Cases[0].Would != tc.would {
			t.Errorf("%s: would be %v", tc.policy, got.Cases[0].Would)
		}
	}
	if got, err := w.hub.WhatIf(w.ctx, "product", "", rule.Hub, 3); err != nil || got.Looked != 3 {
		t.Errorf("the last three: %+v, %v", got, err)
	}
	if got, err := w.hub.WhatIf(w.ctx, "product", "name", rule.Hub, 3); err != nil || got.Looked != 0 {
		t.Errorf("another column: %+v, %v", got, err)
	}
	for _, bad := range []struct {
		table, column string
		policy        rule.Policy
		field         string
	}{{"nobody", "", rule.Hub, "table"}, {"product", "nobody", rule.Hub, "column"}, {"product", "", "lottery", "policy"}} {
		_, err := w.hub.WhatIf(w.ctx, bad.table, bad.column, bad.policy, 0)
		if in, ok := errors.AsType[*hub.InputError](err); !ok || in.Field != bad.field {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestWhatIfSaysWhatItCannotTell(t *testing.T) {
	w := newWorld(t)
	s, other := w.site("till"), w.site("other")
	s.applies(ins("hard", "h1", 1))
	other.pull()
	other.do(upd("hard", "h1", "a", 1, 2))
	s.do(del("hard", "h1", 1))
	got, err := w.hub.WhatIf(w.ctx, "hard", "", rule.Hub, 0)
	w.must(err)
	if got.Untold == 0 || !strings.Contains(got.Cases[0].Why, "on_delete") {
		t.Errorf("%+v", got)
	}
}

func TestTimelineMergesAndPages(t *testing.T) {
	w := newWorld(t)
	s, _ := w.conflicts(3)
	w.clock.Advance(time.Minute)
	s.parks("already", ins("product", "p9", "double", 1, "T"))
	s.session.End()
	s.session.End() // again: nothing
	w.must(w.hub.Flush(w.ctx))
	w.clock.Advance(time.Minute)
	if _, err := w.hub.Rename(w.ctx, s.id, "till 2", ""); err != nil {
		t.Fatal(err)
	}
	all, next, err := w.hub.Timeline(w.ctx, s.id, "", 0)
	w.must(err)
	if next != "" {
		t.Errorf("more after all: %q", next)
	}
	var kinds []string
	for i, m := range all {
		kinds = append(kinds, m.Kind)
		if i > 0 && m.At.After(all[i-1].At) {
			t.Errorf("%s of %v comes after %v", m.Kind, m.At, all[i-1].At)
		}
		if m.Kind == hub.MomentVisit && (m.In != 5 || m.Out == 0 || m.Bytes == 0 || m.Until.Before(m.At) || m.Detail != "test") {
			t.Errorf("session %+v", m)
		}
	}
	want := []string{"renamed", "quarantined", "conflict", "conflict", "conflict", "session", "created"}
	slices.Sort(kinds[len(kinds)-2:]) // of one moment
	slices.Sort(want[len(want)-2:])
	if !slices.Equal(kinds, want) {
		t.Errorf("kinds %v", kinds)
	}
	var paged []hub.Moment
	for before := ""; ; {
		list, next, err := w.hub.Timeline(w.ctx, s.id, before, 2)
		w.must(err)
		paged = append(paged, list...)
		if before = next; next == "" {
			break
		}
	}
	if len(paged) != len(all) {
		t.Fatalf("%d moments in pages, %d at once", len(paged), len(all))
	}
	for i := range all {
		if paged[i] != all[i] {
			t.Errorf("moment %d is %+v in pages, %+v at once", i, paged[i], all[i])
		}
	}
	_, _, err = w.hub.Timeline(w.ctx, s.id, "nonsense", 2)
	if in, ok := errors.AsType[*hub.InputError](err); !ok || in.Field != "page_token" {
		t.Errorf("a page token that is none: %v", err)
	}
}

func TestTheLastHundredSessionsAreKept(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	s.session.End()
	for range 130 {
		w.clock.Advance(time.Second)
		s.connect()
		s.session.End()
	}
	w.must(w.hub.Flush(w.ctx))
	w.clock.Advance(time.Second)
	s.connect()
	s.session.End()
	w.must(w.hub.Flush(w.ctx))
	list := w.happened(s.id)
	if n := len(list); n != 101 { // and that it was created
		t.Errorf("%d moments", n)
	}
}

func TestARefusedSessionIsPutDownWithItsReason(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	s.session.End()
	w.must(w.hub.Revoke(w.ctx, s.id, "stolen"))
	w.clock.Advance(time.Second)
	s.session = w.hub.NewSession(s.id)
	if _, err := s.tryAsk(s.hello()); faultCode(err) != "revoked" {
		t.Fatal(err)
	}
	s.session.End()
	w.must(w.hub.Flush(w.ctx))
	list, _, err := w.hub.Timeline(w.ctx, s.id, "", 1)
	w.must(err)
	if list[0].Kind != hub.MomentVisit || !strings.Contains(list[0].Error, "stolen") {
		t.Errorf("%+v", list[0])
	}
}

func TestConnected(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	other, err := hub.New(w.ctx, hub.Config{Store: w.store, Rules: w.rules, Clock: w.clock, Rand: w.rand})
	w.must(err)
	elsewhere := func() bool {
		w.must(w.hub.Flush(w.ctx))
		d, err := other.DeviceStatus(w.ctx, s.id)
		w.must(err)
		return d.Connected
	}
	if !w.status(s.id).Connected || !elsewhere() {
		t.Error("a device with a session is not connected")
	}
	w.clock.Advance(time.Minute)
	if !w.status(s.id).Connected || elsewhere() {
		t.Error("silence counts here, or does not elsewhere")
	}
	s.ask(&wire.Ping{N: 1})
	s.session.End()
	if w.status(s.id).Connected || elsewhere() {
		t.Error("a device whose session ended is connected")
	}
	w.clock.Advance(time.Second)
	s.connect()
	if !w.status(s.id).Connected || !elsewhere() {
		t.Error("a device that came back is not connected")
	}
}

func TestAskIsToldOnceAndKeptUntilBegun(t *testing.T) {
	w := newWorld(t)
	s := w.site("till")
	if _, err := w.hub.Ask(w.ctx, s.id, "dance"); err == nil {
		t.Error("it can be asked for anything")
	}
	for range 2 {
		if _, err := w.hub.Ask(w.ctx, s.id, wire.AskVerify); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(out []wire.Message) (list []string) {
		for _, m := range out {
			if p, ok := m.(*wire.Ping); ok {
				list = append(list, p.Ask...)
			}
		}
		return list
	}
	pull := &wire.Pull{Cursor: s.base, Scopes: s.scopes, Wait: true}
	if got := asked(s.ask(pull)); !slices.Equal(got, []string{wire.AskVerify}) {
		t.Fatalf("it hears %v", got)
	}
	if got := asked(s.ask(pull)); len(got) != 0 {
		t.Errorf("it hears again %v", got)
	}
	s.session = w.hub.NewSession(s.id)
	if got := asked(s.ask(s.hello())); !slices.Equal(got, []string{wire.AskVerify}) {
		t.Errorf("the next session hears %v", got)
	}
	if got := w.known(s.id).Control.Asked; !slices.Equal(got, []string{wire.AskVerify}) {
		t.Errorf("kept: %v", got)
	}
	s.ask(&wire.Ping{N: 1, Begun: []string{wire.AskVerify}})
	if got := w.known(s.id).Control.Asked; len(got) != 0 {
		t.Errorf("kept after it began: %v", got)
	}
	report := &wire.VerifyReport{At: w.clock.Now(), Rows: 12, Differing: 1, Tables: []string{"mix", "pair"}}
	for range 3 {
		s.ask(&wire.Ping{N: 2, Status: &wire.EdgeStatus{Verified: report}})
	}
	s.ask(&wire.Ping{N: 3, Status: &wire.EdgeStatus{}}) // an agent that was started again
	st := w.status(s.id)
	if st.Status.Verified == nil || st.Status.Verified.Rows != 12 || st.Level != hub.Warning || st.Why != "1 row differed when it was compared with the hub" {
		t.Errorf("%+v, %v: %s", st.Status.Verified, st.Level, st.Why)
	}
	if list := w.happened(s.id); !slices.Equal(list[:2], []string{hub.DeedVerified, hub.DeedAsked}) {
		t.Errorf("timeline %v", list)
	}
	if _, err := w.hub.Ask(w.ctx, s.id, wire.AskVerify); err != nil {
		t.Fatal(err)
	}
	if got := asked(s.ask(&wire.Pull{Cursor: s.base, Scopes: s.scopes, Wait: true})); len(got) != 1 {
		t.Errorf("asked again, it hears %v", got)
	}
}

func TestRowHistory(t *testing.T) {
	w := newWorld(t)
	s, other := w.site("till"), w.site("other")
	key := change.Key{change.Text("p1")}
	s.applies(ins("product", "p1", "tea", 1, "T"), ins("product", "p0", "x", 1, "X"))
	w.clock.Advance(time.Second)
	other.pull()
	other.applies(upd("product", "p1", "price", 1, 2))
	w.clock.Advance(time.Second)
	w.sql("UPDATE product SET price = 3 WHERE id = 'p1'")
	w.clock.Advance(time.Second)
	other.parks("already", upd("product", "p1", "code", "T", "X", "name", "tea", "mate"))
	w.clock.Advance(time.Second)
	other.applies(ins("product", "p2", "else", 1, "E"))
	get := func(before string, limit int) *hub.RowHistory {
		t.Helper()
		h, err := w.hub.History(w.ctx, "product", key, before, limit)
		w.must(err)
		return h
	}
	text := func(h *hub.RowHistory) (out []string) {
		for _, v := range h.Versions {
			line := v.DeviceName + " " + v.Kind.String() + " " + v.Status.String()
			for _, c := range v.Columns {
				line += fmt.Sprintf(" %s %v>%v", c.Name, c.Base, c.New)
			}
			out = append(out, line)
		}
		return out
	}
	all := get("", 0)
	// Another program's writes carry the machine's clock, which is far ahead of the test's.
	want := []string{"the hub update applied price NULL>NULL", "other update quarantined code 'T'>'X' name 'tea'>'mate'",
		"other update applied price 1>2", "till insert applied id NULL>'p1' name NULL>'tea' price NULL>1 code NULL>'T'"}
	if got := text(all); !slices.Equal(got, want) {
		t.Errorf("history:\n%s", strings.Join(got, "\n"))
	}
	if all.Cut || all.Next != "" || all.Now[2] != change.Int(3) {
		t.Errorf("cut %v, next %q, now %v", all.Cut, all.Next, all.Now)
	}
	var paged []string
	for before := ""; ; {
		h := get(before, 1)
		paged = append(paged, text(h)...)
		if before = h.Next; before == "" {
			break
		}
	}
	if !slices.Equal(paged, want) {
		t.Errorf("in pages:\n%s", strings.Join(paged, "\n"))
	}
	w.clock.Advance(48 * time.Hour)
	other.applies(upd("product", "p2", "price", 1, 2))
	_, err := w.hub.Retain(w.ctx, 24*time.Hour)
	w.must(err)
	if got := get("", 0); !got.Cut {
		t.Errorf("after pruning: %v, cut %v", text(got), got.Cut)
	}
	if _, err := w.hub.History(w.ctx, "product", nil, "", 0); err == nil {
		t.Error("a key of no values was taken")
	}
}

func TestUndoIsInTheRowsHistory(t *testing.T) {
	w := newWorld(t)
	w.conflicts(1)
	w.clock.Advance(time.Second)
	if _, err := w.hub.Undo(w.ctx, w.receipts()[0].ID, "mia"); err != nil {
		t.Fatal(err)
	}
	h, err := w.hub.History(w.ctx, "product", change.Key{change.Text("p1")}, "", 0)
	w.must(err)
	if len(h.Versions) != 4 || h.Versions[0].Reason != "a decision was undone by mia" || h.Versions[0].Columns[0].New != change.Int(1) {
		t.Errorf("%+v", h.Versions)
	}
}

func TestRowsInPages(t *testing.T) {
	w := newWorld(t)
	w.site("seven", branchGrant("7"))
	for i := range 25 {
		w.sql(fmt.Sprintf("INSERT INTO customer (id, branch, name) VALUES ('c%02d', '%d', '%s')", i, 7+i%2, strings.Repeat("x", i*40)))
	}
	var got []string
	for after := (change.Key)(nil); ; {
		p, err := w.hub.Rows(w.ctx, "customer", "", after, 5)
		w.must(err)
		if len(p.Rows) > 5 {
			t.Fatalf("%d rows", len(p.Rows))
		}
		for _, r := range p.Rows {
			got = append(got, r.Values[0].Str())
			if r.Scope != "branch/7" {
				t.Errorf("row %v is in %q", r.Values[0], r.Scope)
			}
		}
		if after = p.Next; after == nil {
			break
		}
	}
	if len(got) != 13 || !slices.IsSorted(got) {
		t.Errorf("rows %v", got)
	}
	if p, err := w.hub.Rows(w.ctx, "customer", "branch/8", nil, 100); err != nil || len(p.Rows) != 12 || p.Next != nil {
		t.Errorf("of another scope: %v, %v", p, err)
	}
	if p, err := w.hub.Row(w.ctx, "customer", change.Key{change.Text("c01")}); err != nil || p.Rows[0].Scope != "branch/8" {
		t.Errorf("one row: %v, %v", p, err)
	}
	if _, err := w.hub.Row(w.ctx, "customer", change.Key{change.Text("nobody")}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a row that is not there: %v", err)
	}
	for _, err := range []error{
		func() error { _, err := w.hub.Rows(w.ctx, "nobody", "", nil, 0); return err }(),
		func() error { _, err := w.hub.Rows(w.ctx, "customer", "", change.Key{}, 0); return err }(),
	} {
		if _, ok := errors.AsType[*hub.InputError](err); !ok {
			t.Errorf("%v", err)
		}
	}
	scopes, err := w.hub.Scopes(w.ctx)
	w.must(err)
	if want := []hub.GrantedScope{{Scope: "all", Devices: 1}, {Scope: "branch/7", Devices: 1}}; !slices.Equal(scopes, want) {
		t.Errorf("scopes %v", scopes)
	}
}
