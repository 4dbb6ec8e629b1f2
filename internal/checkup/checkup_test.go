package checkup

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func level(t *testing.T, list []Finding, check string) Level {
	t.Helper()
	i := slices.IndexFunc(list, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("no finding %q in %+v", check, list)
	}
	return list[i].Level
}

func sh(t *testing.T, file, sql string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-cmd", ".timeout 5000", file, sql).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", sql, err, out)
	}
	return string(out)
}

func TestTrapS22_CheckupRecommendsWAL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.db")
	sh(t, file, "CREATE TABLE t(a)")
	var c List
	c.File(file)
	c.Disk(file)
	if level(t, c.Found, "journal") != Warn || level(t, c.Found, "file") != Good || level(t, c.Found, "integrity") != Good {
		t.Fatalf("%+v", c.Found)
	}
	sh(t, file, "PRAGMA journal_mode=WAL")
	c = List{}
	c.File(file)
	if level(t, c.Found, "journal") != Good {
		t.Fatalf("%+v", c.Found)
	}
}

func TestTrapS21_CheckupTellsOfBusyTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.db")
	sh(t, file, "CREATE TABLE t(a)")
	var c List
	c.File(file)
	if level(t, c.Found, "busy_timeout") != Note {
		t.Fatalf("%+v", c.Found)
	}
}

func TestTrapS14_CheckupNamesRiskyVersions(t *testing.T) {
	for v, want := range map[string]bool{
		"3.6.23": false, "3.7.0": true, "3.40.1": true, "3.51.2": true, "3.51.3": false, "4.0.0": false, "3.x.1": false,
	} {
		if risky(v) != want {
			t.Errorf("risky(%s) = %v", v, !want)
		}
	}
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	fake := func(name, says string) {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\necho '"+says+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fake("sqlite3", "3.40.1 2022-12-28 hash")
	fake("python3", "3.51.3")
	var c List
	c.Engines(context.Background())
	if len(c.Found) != 2 || c.Found[0].Level != Warn || c.Found[1].Level != Good {
		t.Fatalf("%+v", c.Found)
	}
	fake("sqlite3", "none")
	if err := os.Remove(filepath.Join(bin, "python3")); err != nil {
		t.Fatal(err)
	}
	c = List{}
	c.Engines(context.Background())
	if len(c.Found) != 0 {
		t.Fatalf("%+v", c.Found)
	}
}

func TestCheckupOfBadFiles(t *testing.T) {
	dir := t.TempDir()
	for name, prepare := range map[string]func(string){
		"missing":  func(string) {},
		"a folder": func(p string) { _ = os.Mkdir(p, 0o755) },
		"no sqlite": func(p string) {
			_ = os.WriteFile(p, []byte("this is a text that is long enough to be no header"), 0o600)
		},
		"damaged": func(p string) {
			sh(t, p, "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000) INSERT INTO t SELECT hex(randomblob(50)) FROM n")
			b, _ := os.ReadFile(p)
			for i := 4096; i < 5*4096; i++ {
				b[i] ^= 0x5a
			}
			_ = os.WriteFile(p, b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(dir, name)
			prepare(p)
			var c List
			c.File(p)
			if !slices.ContainsFunc(c.Found, func(f Finding) bool { return f.Level == Bad }) {
				t.Fatalf("%+v", c.Found)
			}
		})
	}
}

func TestHostOfAnAddress(t *testing.T) {
	for in, want := range map[string]string{"https://h:1/x": "h:1", "%": "%"} {
		if got := Host(in); got != want {
			t.Errorf("Host(%q) = %q", in, got)
		}
	}
}

func TestDiskSpaceIsJudged(t *testing.T) {
	for free, want := range map[int64]Level{diskTiny - 1: Bad, diskTiny: Warn, diskLow - 1: Warn, diskLow: Good} {
		var c List
		c.space(free)
		if level(t, c.Found, "disk") != want {
			t.Errorf("%d bytes: %+v", free, c.Found)
		}
	}
	var c List
	c.Disk(filepath.Join(t.TempDir(), "none", "a.db"))
	if level(t, c.Found, "disk") != Note {
		t.Errorf("no such directory: %+v", c.Found)
	}
}

func TestCheckupOfAFileBelowAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	sh(t, path, "CREATE TABLE t(a)")
	var c List
	c.File(filepath.Join(path, "b.db"))
	if level(t, c.Found, "file") != Bad {
		t.Errorf("%+v", c.Found)
	}
}
