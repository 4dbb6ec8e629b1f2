package edge

import "testing"

func TestSession_BootstrapAndBack(t *testing.T) {
	c := newClinic(t)
	c.seedPatients(250)
	l := c.dial()
	l.sync()
	c.agree(true)
	c.want("SELECT count(*) FROM visit", "250")

	c.exec("INSERT INTO patient VALUES ('new', 1, 'Ada', 0, 'c1'); UPDATE patient SET name='x' WHERE id='p0003'; DELETE FROM patient WHERE id='p0004'")
	l.sync()
	c.agree(true)
	if got := c.h.get("patient", text("new")); got == nil || got[2] != text("Ada") {
		t.Fatalf("hub has %v", got)
	}
	c.h.put("patient", text("p0005"), num(1), text("hub"), num(9), text("c5"))
	c.h.del("visit", text("vp0006"))
	l.sync()
	c.want("SELECT name, visits FROM patient WHERE id='p0005'", "'hub'|9")
	c.agree(true)
	if ok, err := l.s.Synced(); err != nil || !ok {
		t.Fatalf("synced %v, %v", ok, err)
	}
	c.foreign()
}
