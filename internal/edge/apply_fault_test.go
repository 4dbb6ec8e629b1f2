package edge

import (
	"errors"
	"slices"
	"testing"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/rule"
	"github.com/tidemark-sync/tidemark/internal/sqlite"
)

// troubled makes a clinic in which the next pull has everything to do at once:
// revoked and added scopes, outcomes of every kind, a collision, a parent that
// goes while its child is pending, two rows that swap a unique value.
func troubled(t *testing.T, scopes bool) (*clinic, *line) {
	c := newClinic(t)
	c.h.scopeOf = clinicScope(c.h)
	c.h.grants = []rule.Grant{{Scope: "branch/0", Verbs: rule.Every}, {Scope: "branch/1", Verbs: rule.Every}}
	c.seedPatients(9)
	c.h.put("patient", text("s1"), num(1), text("swap"), num(0), text("left"))
	c.h.put("patient", text("s2"), num(1), text("swap"), num(0), text("right"))
	c.dial().sync()
	statuses := []uint8{outcomeApplied, outcomeDiscarded, outcomeQuarantined, outcomeQuarantined}
	c.h.decide = func(tx *change.Transaction) (uint8, string) { return statuses[(tx.Seq-1)%4], "decided" }
	c.tx("UPDATE patient SET name='one' WHERE id='p0001'", "INSERT INTO patient VALUES ('fresh', 1, 'x', 0, NULL)")
	c.tx("UPDATE patient SET visits=visits+1 WHERE id='p0004'", "DELETE FROM patient WHERE id='p0007'")
	c.tx("INSERT INTO visit VALUES ('child', 'p0003', 'n')")
	c.tx("INSERT INTO patient VALUES ('collides', 1, 'x', 0, 'card')")
	c.export()
	l := c.dial()
	l.limit = 5 // Hello, Welcome, the pushes and the pull are under way
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.h.put("patient", text("theirs"), num(1), text("hub"), num(0), text("card"))
	c.h.put("patient", text("s1"), num(1), text("swap"), num(0), text("right"))
	c.h.put("patient", text("s2"), num(1), text("swap"), num(0), text("left"))
	c.h.drop("p0003")
	if scopes {
		c.h.grants = []rule.Grant{{Scope: "branch/1", Verbs: rule.Every}, {Scope: "branch/2", Verbs: rule.Every}}
	}
	l.limit = 0
	return c, l
}

// Whatever the file refuses, at whatever moment: the pull is undone as a whole,
// nothing is lost, and the next one goes through.
func TestApply_RefusedByTheFile(t *testing.T) {
	const all = "SELECT * FROM patient UNION ALL SELECT id, patient_id, note, 0, 0 FROM visit ORDER BY 1"
	failed, crash := 0, errors.New("crash")
	for scopes, steps := range map[bool][]string{
		false: {"begin", "rows", "settle", "overlay", "displaced", "foreign keys", "shadow"},
		true:  {"lift", "evict", "lower"},
	} {
		for _, step := range steps {
			for _, name := range []string{"_tidemark_shadow", "_tidemark_pending", "_tidemark_outbox", "_tidemark_meta", "_tidemark_rescue", "_tidemark_applying", "visit", "patient"} {
				c, l := troubled(t, scopes)
				before := c.rows(all)
				c.e.hook = func(s string) error {
					if s == step {
						return sqlite.Exec(c.e.conn, "ALTER TABLE "+name+" RENAME TO elsewhere")
					}
					if s == "commit" { // not needed any more at that moment
						return crash
					}
					return nil
				}
				err := l.run()
				c.e.hook = nil
				if !errors.Is(err, crash) {
					failed++
				}
				if after := c.rows(all); after != before {
					t.Fatalf("%s without %s: %v\n%s\nbefore\n%s", step, name, err, after, before)
				}
				c.reopen()
				c.dial().sync()
				c.agree(false)
				c.foreign()
				c.want("SELECT id FROM visit WHERE id='child'", "'child'")
				c.want("SELECT state, aside FROM _tidemark_outbox", "3|0\n3|0\n2|0\n2|1")
				c.close()
			}
		}
	}
	if failed < 30 {
		t.Fatalf("only %d refusals", failed)
	}
}

func TestApply_TableMissing(t *testing.T) {
	c := enrolled(t)
	l := c.dial()
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.exec("DROP TABLE visit")
	c.h.put("patient", text("a"), num(1), text("x"), num(0), change.Null)
	c.h.put("visit", text("v"), text("a"), text("x"))
	if err := l.run(); err != nil {
		t.Fatal(err)
	}
	c.want("SELECT id FROM patient", "'a'") // the other tables go on
	if d, err := c.e.CheckDrift(); err != nil || !slices.Equal(d.Gap, []string{"visit"}) {
		t.Fatalf("a row for a table that is not there was taken as installed: %+v, %v", d, err)
	}
	c.exec(clinicDDL[1])
	c.dial().sync()
	c.want("SELECT id, note FROM visit", "'v'|'x'")
	c.agree(true)
}
