package edge

import (
	"testing"

	"github.com/tidemark-sync/tidemark/change"
)

// fourPatients is a clinic with a judging hub that holds p0 to p3 with a visit each.
func fourPatients(t *testing.T) *clinic {
	t.Helper()
	c := newClinic(t)
	c.h.scopeOf = clinicScope(c.h)
	c.h.strict()
	c.grant(0, 1, 2)
	for _, n := range []string{"0", "1", "2", "3"} {
		c.h.hubPut("p"+n, int64(n[0]-'0')%3, "start", change.Null)
		c.h.put("visit", text("v"+n), text("p"+n), text("start"))
	}
	c.dial().sync()
	return c
}

// A visit that was moved away goes back to its patient when the hub refuses the
// move, and the patient was deleted here meanwhile: the delete steps aside.
func TestApply_RefusalBringsBackAChildOfADeletedParent(t *testing.T) {
	c := fourPatients(t)
	c.exec("UPDATE visit SET note='app', patient_id='p0' WHERE id='v2'")
	c.h.drop("p0")
	c.dial().sync()
	c.want("SELECT patient_id FROM visit WHERE id='v2'", "'p0'")
	c.concludeOne()
	c.exec("DELETE FROM patient WHERE id='p2'")
	c.dial().sync()
	c.foreign()
	c.want("SELECT patient_id FROM visit WHERE id='v2'", "'p2'")
	c.want("SELECT count(*) FROM patient WHERE id='p2'", "1")
	c.want("SELECT count(*) FROM _tidemark_outbox WHERE aside", "1")
	c.agree(false)
}

// Two rows of one pending transaction: what the hub sends for the second needs the
// unique value that the first took. The first comes before it in the order of rows
// and was not touched by the pull; it must not be left out of the table.
func TestApply_RowThatMadeRoomIsNotLeftOut(t *testing.T) {
	c := fourPatients(t)
	c.tx("UPDATE patient SET card='c1' WHERE id='p0'", "UPDATE patient SET name='app' WHERE id='p2'")
	c.h.hubPut("p2", 2, "hub", text("c1"))
	c.dial().sync()
	c.foreign()
	c.want("SELECT id, name, card FROM patient WHERE id IN ('p0', 'p2') ORDER BY id", "'p0'|'start'|NULL\n'p2'|'hub'|'c1'")
	c.want("SELECT count(*) FROM _tidemark_outbox WHERE aside", "1")
	c.want("SELECT count(*) FROM _tidemark_rescue", "0")
	c.agree(false)
}
