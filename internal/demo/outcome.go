package demo

import (
	"context"
	"errors"
	"fmt"
)

// everywhere reads one value from the hub and from both branches once they
// agree, or as they stand when they never do.
func (t *story) everywhere(ctx context.Context, sql string) (got [3]string, err error) {
	at := []*app{t.hub, t.north, t.south}
	err = t.until(ctx, "hub, north and south agree on "+sql, func() (bool, error) {
		for i, a := range at {
			v, err := a.text(ctx, sql)
			if err != nil {
				return false, err
			}
			got[i] = v
		}
		return got[0] == got[1] && got[1] == got[2], nil
	})
	return got, err
}

func all(got [3]string, want string) bool { return got == [3]string{want, want, want} }

// conflict shows what became of the patient whom both edited.
func (t *story) conflict(ctx context.Context) error {
	t.s.Act("The conflict was decided by rule, with a receipt")
	t.s.Command("tidemark conflicts list --data hub --json")
	var list struct {
		Receipts []receipt `json:"receipts"`
	}
	if err := t.ask(ctx, &list, "conflicts", "list", "--data", "hub"); err != nil {
		return err
	}
	if len(list.Receipts) != 1 {
		return t.s.Claim(false, "there is one receipt: there are %d", len(list.Receipts))
	}
	r := list.Receipts[0]
	t.receipt = r.ID
	t.s.Block(fmt.Sprintf("receipt %s\n%s %v %s, rule %s\nstands: %v, of %s\ngave way: %v, of %s\n",
		r.ID, r.Table, r.Key[0], r.Column, r.Rule, r.Result, r.Winner, r.lost(), r.Loser))
	ok := r.Table == "patient" && fmt.Sprint(r.Key...) == hotPatient && r.Column == "phone" && r.Rule == "latest" &&
		r.Winner == "south" && r.Result == t.done[1].phone && r.Loser == "north" && r.lost() == t.done[0].phone
	if err := t.s.Claim(ok, "one conflict, one receipt: the later edit stands, the other is kept in it"); err != nil {
		return err
	}
	phone, err := t.everywhere(ctx, phoneSQL)
	if err != nil {
		return err
	}
	note, err := t.everywhere(ctx, "SELECT note FROM patient WHERE id='"+hotPatient+"'")
	if err != nil {
		return err
	}
	err = t.s.Claim(all(phone, t.done[1].phone) && all(note, newNote),
		"hub, north and south: phone %s, and beside it north's note, %q", phone[0], note[0])
	return errors.Join(err, t.beat(ctx, readingTime))
}

// lost is the value that gave way.
func (r *receipt) lost() any {
	if r.Result == r.Edge {
		return r.Hub
	}
	return r.Edge
}

// counter shows what became of the stock that both used up.
func (t *story) counter(ctx context.Context) error {
	t.s.Act("The counter came out right")
	got, err := t.everywhere(ctx, stockSQL)
	if err != nil {
		return err
	}
	want := t.stock - t.done[0].sold - t.done[1].sold
	t.s.Say("%s: %s before, %d used up at north, %d at south", hotItem, count(t.stock), t.done[0].sold, t.done[1].sold)
	for i, name := range []string{"hub", "north", "south"} {
		t.s.SQL(name, stockSQL+"  -- "+got[i])
	}
	err = t.s.Claim(all(got, fmt.Sprint(want)), "%s - %d - %d = %s, at the hub and in both branches", count(t.stock), t.done[0].sold, t.done[1].sold, count(want))
	return errors.Join(err, t.beat(ctx, readingTime))
}

// compare compares digests with the hub's.
func (t *story) compare(ctx context.Context) error {
	t.s.Act("The digests agree")
	for i, a := range t.branches() {
		if err := t.cast.stop(branchName(i)); err != nil {
			return err
		}
		t.s.Command("tidemark verify " + a.file + " --json")
		var v comparison
		if err := t.ask(ctx, &v, "verify", a.file); err != nil {
			return err
		}
		var rows int64
		for _, table := range v.Tables {
			rows += table.Rows
		}
		has, err := counts(ctx, a)
		if err != nil {
			return err
		}
		if err := t.s.Claim(v.InSync && v.Differs == 0 && rows == has.rows() && len(v.Tables) == 4,
			"%s equals the hub: %d tables, %s rows, %d differ", a.file, len(v.Tables), count(rows), v.Differs); err != nil {
			return err
		}
	}
	return t.beat(ctx, glance)
}
