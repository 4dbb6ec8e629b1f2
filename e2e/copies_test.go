package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// copyTill copies a site's file and what lies beside it, as `cp` does, to a new site.
func (tn *town) copyTill(t *testing.T, from, name string, side bool) string {
	t.Helper()
	to := filepath.Join(tn.dir, name+".db")
	for _, suffix := range []string{"", "-wal", "-tidemark"} {
		if suffix == "-tidemark" && !side {
			continue
		}
		if _, err := os.Stat(from + suffix); err != nil {
			continue
		}
		if out, err := exec.Command("cp", "-r", from+suffix, to+suffix).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v\n%s", err, out)
		}
	}
	tn.files = append(tn.files, to)
	return to
}

type deviceLine struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	CopyOf   string    `json:"copy_of"`
	Restored time.Time `json:"restored"`
	Held     int       `json:"held"`
}

func (tn *town) devices(t *testing.T) []deviceLine {
	t.Helper()
	return mustJSON[struct {
		Devices []deviceLine `json:"devices"`
	}](t, "device", "list", "--data", tn.data).Devices
}

// chinookSale is an invoice with two lines.
func chinookSale(n int) string {
	return fmt.Sprintf(`BEGIN IMMEDIATE; INSERT INTO Invoice VALUES (%d, 2, '2026-03-01 00:00:00', NULL, NULL, NULL, NULL, NULL, 1.98);
		INSERT INTO InvoiceLine VALUES (%d, %d, 1, 0.99, 1), (%d, %d, 2, 0.99, 1); COMMIT;`, n, 10*n, n, 10*n+1, n)
}

// soldOnce wants each invoice at the hub, once and whole, and nothing parked.
func (tn *town) soldOnce(t *testing.T, list []int) {
	t.Helper()
	if got, want := shell(t, tn.db(), `SELECT count(*) FROM Invoice WHERE InvoiceId>=9000`), fmt.Sprint(len(list)); got != want {
		t.Errorf("I1: %s invoices at the hub, %s were written", got, want)
	}
	for _, n := range list {
		if got := shell(t, tn.db(), fmt.Sprintf(`SELECT count(*) FROM InvoiceLine WHERE InvoiceId=%d`, n)); got != "2" {
			t.Errorf("I1, I4: invoice %d has %s lines at the hub", n, got)
		}
	}
	if q := must(t, "queue", "list", "--data", tn.data); !strings.Contains(q, "empty") && !strings.Contains(q, "nothing") {
		t.Errorf("quarantine:\n%s", q)
	}
}

// A till's file is copied with its key, and both go on, agents running.
func TestTrapD4_CopiedTill(t *testing.T) {
	need(t, "sqlite3")
	tn := newTown(t, chinook(t), "", "")
	till := tn.join(t, "till", "all")
	var sold []int
	sell := func(file string) {
		n := 9000 + len(sold)
		shell(t, file, chinookSale(n))
		sold = append(sold, n)
	}
	sell(till)
	tn.startAgent(t, 0)
	eventually(t, 30*time.Second, "the first sale is at the hub", func() bool {
		return shell(t, tn.db(), `SELECT count(*) FROM Invoice WHERE InvoiceId>=9000`) == "1"
	})
	tn.agents[0].stop(t)
	sell(till) // on its way in both
	copied := tn.copyTill(t, till, "other", true)
	tn.startAgent(t, 0)
	tn.startAgent(t, 1)
	eventually(t, 60*time.Second, "both are online", func() bool {
		return strings.Contains(must(t, "status", till), "online") && strings.Contains(must(t, "status", copied), "online")
	})
	looks := 0
	eventually(t, 2*time.Minute, "the copy is a device of its own", func() bool {
		if looks++; looks%10 == 1 {
			sell(till)
			sell(copied)
		}
		return len(tn.devices(t)) == 2
	})
	sell(till)
	sell(copied)
	for i := range tn.files {
		tn.agents[i].stop(t)
	}
	tn.settle(t)
	tn.soldOnce(t, sold)
	tn.sameRows(t, "Invoice", "InvoiceLine")

	list := tn.devices(t)
	if len(list) != 2 || list[1].Name != "till copy 2" || list[1].CopyOf != list[0].ID {
		t.Errorf("devices: %+v", list)
	}
	text := must(t, "device", "list", "--data", tn.data)
	if !strings.Contains(text, "copy of till") {
		t.Errorf("the list does not tell:\n%s", text)
	}
	if text = must(t, "device", "show", "till", "--data", tn.data); !strings.Contains(text, "copied: two copies of its file are in use") {
		t.Errorf("show does not tell:\n%s", text)
	}
	if text = must(t, "status", "--data", tn.data); !strings.Contains(text, "1 copied file made a device of its own") {
		t.Errorf("status does not tell:\n%s", text)
	}
	// Each is who the hub says: revoking one leaves the other.
	must(t, "device", "revoke", "till", "--data", tn.data)
	ended := 0
	for _, f := range tn.files {
		if _, _, code := try(t, "sync", "--once", f); code != 0 {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("%d of two files were shut out with one device", ended)
	}
}

// Yesterday's backup is put over a till's file.
func TestTrapD4_RestoredTill(t *testing.T) {
	need(t, "sqlite3")
	tn := newTown(t, chinook(t), "", "")
	till := tn.join(t, "till", "all")
	var sold []int
	sell := func() {
		n := 9000 + len(sold)
		shell(t, till, chinookSale(n))
		sold = append(sold, n)
	}
	sell()
	tn.settle(t)
	backup := till + ".backup"
	shell(t, till, ".backup '"+backup+"'")
	sell()
	sell()
	tn.settle(t)
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(till + suffix)
	}
	if err := os.Rename(backup, till); err != nil {
		t.Fatal(err)
	}
	sell() // the till does not know that it is an old one
	tn.startAgent(t, 0)
	eventually(t, 60*time.Second, "the till is itself again", func() bool {
		out, err := tryShell(till, `SELECT count(*) FROM Invoice WHERE InvoiceId>=9000`)
		return err == nil && out == fmt.Sprint(len(sold))
	})
	sell()
	tn.agents[0].stop(t)
	tn.settle(t)
	tn.soldOnce(t, sold)
	tn.sameRows(t, "Invoice", "InvoiceLine")
	list := tn.devices(t)
	if len(list) != 1 || list[0].Restored.IsZero() {
		t.Errorf("devices: %+v", list)
	}
	if text := must(t, "device", "list", "--data", tn.data); !strings.Contains(text, "restored 20") {
		t.Errorf("the list does not tell:\n%s", text)
	}
	if text := must(t, "status", "--data", tn.data); !strings.Contains(text, "1 file restored in the last seven days") {
		t.Errorf("status does not tell:\n%s", text)
	}
}

// With hub.copies: hold a copy waits for the operator, with its work in it.
func TestCopiesHeld(t *testing.T) {
	need(t, "sqlite3")
	source := filepath.Join(t.TempDir(), "shop.db")
	shell(t, source, shopDDL)
	tn := newTown(t, source, "hub: {copies: hold}\n"+shopRules, "")
	till := tn.join(t, "till", "all")
	shell(t, till, sale("s0"))
	tn.settle(t)
	copies := []string{tn.copyTill(t, till, "second", true), tn.copyTill(t, till, "third", true)}
	shell(t, till, sale("s1"))
	must(t, "sync", "--once", till)
	for i, f := range copies {
		shell(t, f, sale(fmt.Sprint("copy", i)))
		if _, errs, code := try(t, "sync", "--once", f); code == 0 || !strings.Contains(errs, "device allow") {
			t.Fatalf("a copy went on, with code %d:\n%s", code, errs)
		}
		if i == 0 {
			if text := must(t, "device", "list", "--data", tn.data); !strings.Contains(text, "held: tidemark device allow till") {
				t.Errorf("the list does not tell:\n%s", text)
			}
			must(t, "device", "allow", "till", "--data", tn.data)
			must(t, "sync", "--once", f)
		}
	}
	if got := edgeStatus(t, copies[1]); got.OutboxDepth == 0 {
		t.Errorf("the held file's work is not shown: %+v", got)
	}
	must(t, "device", "revoke", "till", "--held", "--data", tn.data)
	if _, errs, code := try(t, "sync", "--once", copies[1]); code == 0 || !strings.Contains(errs, "refused") {
		t.Errorf("a refused copy went on, with code %d:\n%s", code, errs)
	}
	tn.files = tn.files[:2]
	tn.settle(t)
	tn.sameRows(t, "sale", "item")
	if got := shell(t, tn.db(), `SELECT group_concat(id) FROM (SELECT id FROM sale ORDER BY id)`); got != "copy0,s0,s1" {
		t.Errorf("sales at the hub: %s", got)
	}
	if _, errs, code := try(t, "device", "allow", "till", "--data", tn.data); code == 0 || !strings.Contains(errs, "held") {
		t.Errorf("nothing is held, code %d:\n%s", code, errs)
	}
	// The refused copy joins as what it is: a device of its own, its work in it.
	invite := mustJSON[struct {
		Token string `json:"token"`
	}](t, "device", "add", "kiosk", "--data", tn.data)
	if _, errs, code := try(t, "join", invite.Token, copies[1]); code == 0 || !strings.Contains(errs, "--anew") {
		t.Errorf("an enrolled file joined without a word, code %d:\n%s", code, errs)
	}
	must(t, "join", "--anew", invite.Token, copies[1])
	tn.files = append(tn.files, copies[1])
	// And one that was copied without its key.
	bare := tn.copyTill(t, copies[1], "bare", false)
	shell(t, bare, sale("bare"))
	invite = mustJSON[struct {
		Token string `json:"token"`
	}](t, "device", "add", "stand", "--data", tn.data)
	must(t, "join", invite.Token, bare)
	tn.settle(t)
	tn.sameRows(t, "sale", "item")
	if got := shell(t, tn.db(), `SELECT group_concat(id) FROM (SELECT id FROM sale ORDER BY id)`); got != "bare,copy0,copy1,s0,s1" {
		t.Errorf("sales at the hub: %s", got)
	}
	if got := shell(t, tn.db(), `SELECT qty FROM item WHERE id='i0'`); got != "99995" {
		t.Errorf("stock at the hub: %s", got)
	}
	if list := tn.devices(t); len(list) < 3 {
		t.Errorf("devices: %+v", list)
	}
}
