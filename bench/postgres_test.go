package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPartsRunOnPostgreSQL(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server")
	}
	b, out := tiny(t, "capture", "push", "W1", "W2", "cached", "processes", "idle", "load")
	b.hub, b.scale = "postgres", 0.02
	if err := b.all(); err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{
		"PG capture: bulk insert", "PG capture: bulk update", "PG capture: bulk delete", "one-row commits, delete", "PG push: hub ingests", "PG W1 bootstrap", "PG W2 upload",
		"PG cached", "PG processes", "PG idle: 200 connected", "PG load: one answer", "PG load: the database's slowest",
	} {
		i := slices.IndexFunc(b.lines, func(l line) bool { return strings.Contains(l.Name, w) })
		if i < 0 || b.lines[i].Measured <= 0 {
			t.Errorf("no line %q, or it measured nothing, in\n%s", w, out)
		}
	}
}

// The CPU time of a server is that of its processes, those that ended included.
func TestTreeCPUCountsChildrenAndTheDead(t *testing.T) {
	burn := "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; "
	for name, script := range map[string]string{
		"itself": burn + "echo; read x", "a child": "(" + burn + "echo; read x; :) <&0", "one that ended": "(" + burn + ":); echo; read x",
	} {
		t.Run(name, func(t *testing.T) {
			c := exec.Command("/bin/sh", "-c", script)
			in, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			got, err := treeCPU(c.Process.Pid)
			if err != nil || got < 5*time.Millisecond {
				t.Errorf("%v, %v", got, err)
			}
			_ = in.Close()
			_ = c.Wait()
		})
	}
	if _, err := treeCPU(os.Getpid()); err != nil {
		t.Error(err)
	}
}

func TestAimIsAheadOfThePeers(t *testing.T) {
	b := &bench{ours: served}
	l := b.aim(line{Name: "W2 upload", Limit: 6, LimitBytes: 10})
	if l.Limit < 83 || l.Limit > 84 || l.LimitCPU < 8 || l.LimitCPU > 8.1 || l.LimitBytes != 10 {
		t.Errorf("%+v", l)
	}
	b.ours = tidemark
	if l := b.aim(line{Name: "W2 upload", Limit: 6}); l.Limit != 6 {
		t.Errorf("a hub on SQLite has targets of its own: %+v", l)
	}
}
