package demo

import (
	"slices"
	"strings"
	"testing"
)

func TestAppsWriteAndReadPlainSQL(t *testing.T) {
	shell := findShell()
	if shell == "" {
		t.Fatal("the sqlite3 shell is needed: apt-get install sqlite3")
	}
	for name, path := range map[string]string{"shell": shell, "own": ""} {
		t.Run(name, func(t *testing.T) {
			ctx, dir := t.Context(), t.TempDir()
			if err := makeClinic(dir); err != nil {
				t.Fatal(err)
			}
			a := &app{dir: dir, file: clinicFile, shell: path}
			if err := a.write(ctx, "BEGIN IMMEDIATE; UPDATE stock SET qty=7 WHERE item='"+hotItem+"'; COMMIT;"); err != nil {
				t.Fatal(err)
			}
			if n, err := a.number(ctx, stockSQL); err != nil || n != 7 {
				t.Errorf("the stock is %d, %v; want 7", n, err)
			}
			if rows, err := a.read(ctx, "SELECT name FROM branch ORDER BY id"); err != nil || !slices.Equal(rows, []string{"North", "South", "Referral centre"}) {
				t.Errorf("branches %q, %v", rows, err)
			}
			if rows, err := a.read(ctx, "SELECT name FROM branch WHERE id=9"); err != nil || len(rows) != 0 {
				t.Errorf("no rows are %q, %v", rows, err)
			}
			for sql, want := range map[string]string{
				"SELECT name FROM branch":            "3 rows instead of one",
				"SELECT name FROM branch WHERE id=1": "invalid syntax",
				"SELECT nothing FROM branch":         "nothing",
			} {
				if _, err := a.number(ctx, sql); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %v, want %q in it", sql, err, want)
				}
			}
			if err := a.write(ctx, "UPDATE nothing SET x=1"); err == nil {
				t.Error("a statement on no table is no error")
			}
		})
	}
}

func TestTheClinicIsTheSameEveryTime(t *testing.T) {
	var got [2]string
	for i := range got {
		dir := t.TempDir()
		if err := makeClinic(dir); err != nil {
			t.Fatal(err)
		}
		a := &app{dir: dir, file: clinicFile}
		n, err := counts(t.Context(), a)
		if err != nil || n != (tally{3, patients, visits, items}) {
			t.Fatalf("the clinic holds %+v, %v", n, err)
		}
		for _, sql := range []string{
			"SELECT group_concat(id || branch_id || name || born || phone) FROM (SELECT * FROM patient ORDER BY id)",
			"SELECT group_concat(id || patient_id || day || reason) FROM (SELECT * FROM visit ORDER BY id)",
			"SELECT group_concat(item || qty) FROM (SELECT * FROM stock ORDER BY item)",
		} {
			s, err := a.text(t.Context(), sql)
			if err != nil {
				t.Fatal(err)
			}
			got[i] += s
		}
		if s, err := a.text(t.Context(), "SELECT branch_id FROM patient WHERE id='"+hotPatient+"'"); err != nil || s != "3" {
			t.Errorf("the shared patient is of branch %s, %v", s, err)
		}
	}
	if got[0] != got[1] {
		t.Error("two clinics differ")
	}
}
