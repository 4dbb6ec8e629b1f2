package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An invoice of a song, with plain SQL, as the sample's own application would.
func songSale(id, line string) string {
	return `BEGIN IMMEDIATE;
		INSERT INTO Invoice VALUES (` + id + `, 2, '2026-03-01 00:00:00', NULL, NULL, NULL, NULL, NULL, 0.99);
		INSERT INTO InvoiceLine VALUES (` + line + `, ` + id + `, 1, 0.99, 1);
		COMMIT;`
}

// A tablet dies with sales that nobody else has: its agent is killed, its outbox goes
// to the hub by hand, and the tablet comes back after all. Everything is there once.
func TestOutbox_DyingTablet(t *testing.T) {
	need(t, "sqlite3")
	tn := newTown(t, chinook(t), "", "")
	berlin, oslo := tn.join(t, "berlin", "all"), tn.join(t, "oslo", "all")
	for i := range tn.files {
		tn.startAgent(t, i)
		eventually(t, 30*time.Second, "the agents are online", func() bool { return strings.Contains(must(t, "status", tn.files[i]), "online") })
	}
	tn.hub.kill()
	shell(t, berlin, songSale("9001", "9101"))
	shell(t, berlin, songSale("9002", "9102"))
	eventually(t, 20*time.Second, "the agent takes the sales in", func() bool { return edgeStatus(t, berlin).OutboxDepth > 0 })
	tn.agents[0].kill()
	shell(t, berlin, `UPDATE Customer SET Phone='+49 30 9' WHERE CustomerId=2`) // nobody saw this one
	tn.startHub(t)

	stick := filepath.Join(tn.dir, "berlin.outbox")
	packed := mustJSON[struct {
		Transactions int  `json:"transactions"`
		Signed       bool `json:"signed"`
	}](t, "outbox", "export", berlin, stick)
	if packed.Transactions < 1 || !packed.Signed {
		t.Fatalf("%+v", packed)
	}
	if _, errs, code := try(t, "outbox", "export", berlin, stick); code != 1 || !strings.Contains(errs, "does not exist yet") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if out := must(t, "outbox", "show", stick); !strings.Contains(out, "and whole") {
		t.Errorf("show: %s", out)
	}
	if out := must(t, "outbox", "show", stick, "--data", tn.data); !strings.Contains(out, "berlin") {
		t.Errorf("show at the hub: %s", out)
	}
	out := must(t, "outbox", "import", stick, "--data", tn.data) // beside the running hub
	if !strings.Contains(out, "of berlin") || !strings.Contains(out, "applied") {
		t.Errorf("import: %s", out)
	}
	sold := func() string {
		return shell(t, tn.db(), `SELECT (SELECT count(*) FROM Invoice WHERE InvoiceId>9000), (SELECT count(*) FROM InvoiceLine WHERE InvoiceId>9000), (SELECT Phone FROM Customer WHERE CustomerId=2)`)
	}
	const once = "2|2|+49 30 9"
	if sold() != once {
		t.Fatalf("at the hub: %s", sold())
	}
	eventually(t, 30*time.Second, "the other site gets the sales", func() bool {
		n, err := tryShell(oslo, `SELECT count(*) FROM Invoice WHERE InvoiceId>9000`)
		return err == nil && n == "2"
	})
	// Again, by hand and through the other site beside its agent: nothing changes.
	log := shell(t, tn.db(), `SELECT count(*) FROM _tidemark_log WHERE tbl<>0`)
	if out := must(t, "outbox", "import", stick, "--data", tn.data); !strings.Contains(out, "here already") {
		t.Errorf("import again: %s", out)
	}
	must(t, "outbox", "import", stick, oslo)
	// The tablet comes back to life.
	tn.startAgent(t, 0)
	eventually(t, 30*time.Second, "its outbox drains", func() bool { return edgeStatus(t, berlin).OutboxDepth == 0 })
	if now := shell(t, tn.db(), `SELECT count(*) FROM _tidemark_log WHERE tbl<>0`); now != log || sold() != once {
		t.Errorf("something came twice: %s entries, then %s; %s", log, now, sold())
	}
	for _, a := range tn.agents {
		a.stop(t)
	}
	tn.settle(t)
	tn.sameRows(t, tables(t, tn.db())...)
	for _, f := range tn.files {
		must(t, "verify", f)
	}
	if q := must(t, "queue", "list", "--data", tn.data); !strings.Contains(q, "nothing is parked") {
		t.Errorf("%s", q)
	}
}

// The tablet's file alone was saved, and another device carries its outbox; a damaged
// stick, an unsigned outbox and a revoked device are refused with what to do.
func TestOutbox_FileAlone(t *testing.T) {
	need(t, "sqlite3")
	tn := newShop(t, "", 2)
	tablet := tn.files[0]
	shell(t, tablet, sale("unsent"))
	saved := filepath.Join(tn.dir, "saved.db")
	for _, end := range []string{"", "-wal"} { // as one copies files off a broken machine
		b, err := os.ReadFile(tablet + end)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(saved+end, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stick, signed := filepath.Join(tn.dir, "a.outbox"), filepath.Join(tn.dir, "b.outbox")
	if out := must(t, "outbox", "export", saved, stick); !strings.Contains(out, "not signed") {
		t.Errorf("export: %s", out)
	}
	must(t, "outbox", "export", tablet, signed, "--all")
	refused := func(want string, args ...string) {
		t.Helper()
		_, errs, code := try(t, args...)
		if code == 0 || !strings.Contains(errs, want) || !strings.Contains(errs, "hint: ") {
			t.Errorf("%v: exit %d, %s", args, code, errs)
		}
	}
	refused("--accept-unsigned", "outbox", "import", stick, "--data", tn.data)
	refused("not signed", "outbox", "import", stick, tn.files[1])
	refused("only its operator", "outbox", "import", stick, tn.files[1], "--accept-unsigned")
	b, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(tn.dir, "bad.outbox")
	b[len(b)/2] ^= 1
	if err := os.WriteFile(bad, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("damaged", "outbox", "show", bad)
	refused("damaged", "outbox", "import", bad, "--data", tn.data)
	refused("no sealed outbox", "outbox", "show", tablet)
	if tn.hubHas(t, "unsent") {
		t.Fatal("a refused outbox was taken in")
	}
	// The other device carries the signed one, with no right to it of its own.
	must(t, "outbox", "import", signed, tn.files[1])
	if !tn.hubHas(t, "unsent") {
		t.Fatal("the sale did not arrive")
	}
	must(t, "outbox", "import", stick, "--data", tn.data, "--accept-unsigned")
	must(t, "device", "revoke", "site0", "--data", tn.data)
	refused("--accept-revoked", "outbox", "import", signed, "--data", tn.data)
	must(t, "outbox", "import", signed, "--data", tn.data, "--accept-revoked")
	if n := shell(t, tn.db(), `SELECT qty FROM item WHERE id='i0'`); n != shell(t, tablet, `SELECT qty FROM item WHERE id='i0'`) {
		t.Errorf("the counter stands at %s", n)
	}
	if r := strings.TrimSpace(must(t, "outbox", "recipient", "--data", tn.data)); !strings.HasPrefix(r, "age1") {
		t.Errorf("recipient %q", r)
	}
}
