package storetest

import (
	"context"
	"testing"
)

// dropped: whoever drops a table behind the hub's back stops it, and those whose
// scope comes from it, and nothing else.
func dropped(t *testing.T, open Open) {
	b := start(t, open)
	family(b)
	b.other(`INSERT INTO product VALUES ('s1', 1.5)`)
	c := b.now()
	b.other(`PRAGMA foreign_keys=OFF; DROP TABLE visit; UPDATE product SET price=2 WHERE sku='s1'`)
	b.expect("the others go on", b.changes(c, edgeB, all), "product 's1'")
	if err := b.check(c); err != nil {
		t.Errorf("a table is gone, and the others start anew: %v", err)
	}
	if changed, err := b.s.Refresh(context.Background(), clinic()); err != nil || !changed {
		t.Errorf("refresh says %v, %v", changed, err)
	}
	schema := b.s.Schema()
	if schema.Table("visit") != nil || schema.Table("product") == nil {
		t.Errorf("schema %+v", schema)
	}
	b.other(clinicDDL[1] + `; INSERT INTO visit VALUES ('v9', NULL, 'new')`)
	if _, err := b.s.Refresh(context.Background(), clinic()); err != nil {
		t.Fatal(err)
	}
	if err := b.check(c); err == nil {
		t.Error("what happened to the table in between is in no log, and the old cursor holds")
	}
	c = b.now()
	b.other(`DELETE FROM visit WHERE id='v9'`)
	if b.now() == c {
		t.Error("the table is back, and not captured")
	}
}
