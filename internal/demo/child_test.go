package demo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stage is a cast whose program is a shell script.
func stage(t *testing.T, script string) *cast {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "fake")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &cast{program: program, dir: dir, patience: endPatience}
	t.Cleanup(func() { _ = c.stopAll() })
	return c
}

// written waits until a file has a content.
func written(t *testing.T, path, want string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), want) {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s never held %q", path, want)
}

func TestRunReturnsOutputAndWhatWentWrong(t *testing.T) {
	c := stage(t, `read line; echo "out $1 $line"; echo "said $1" >&2; exit $2`)
	out, err := c.run(t.Context(), "in\n", "a", "0")
	if err != nil || string(out) != "out a in\n" {
		t.Errorf("run: %q, %v", out, err)
	}
	_, err = c.run(t.Context(), "in\n", "b", "3")
	if err == nil || !strings.Contains(err.Error(), "fake b 3: exit status 3") || !strings.Contains(err.Error(), "said b") {
		t.Errorf("a failing verb: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.run(ctx, "", "c", "0"); err != context.Canceled { //nolint:errorlint // exactly that one
		t.Errorf("a cancelled verb: %v", err)
	}
}

func TestChildThatEndsByItselfIsNoticed(t *testing.T) {
	c := stage(t, `echo "cannot go on"; exit 4`)
	if err := c.start("hub", "hub", "--data", "x"); err != nil {
		t.Fatal(err)
	}
	<-c.list[0].done
	err := c.alive()
	if err == nil || !strings.Contains(err.Error(), "tidemark hub --data x ended by itself") ||
		!strings.Contains(err.Error(), "exit status 4") || !strings.Contains(err.Error(), "cannot go on") {
		t.Errorf("alive: %v", err)
	}
}

func TestChildrenAreStoppedInOrder(t *testing.T) {
	c := stage(t, `trap 'echo "$1" >>stopped; exit 0' INT; echo ready; while :; do sleep 0.01; done`)
	for _, name := range []string{"hub", "north"} {
		if err := c.start(name, name); err != nil {
			t.Fatal(err)
		}
		written(t, filepath.Join(c.dir, name+".log"), "ready")
	}
	if err := c.alive(); err != nil {
		t.Error(err)
	}
	if err := c.stop("nobody"); err != nil {
		t.Errorf("stop of nobody: %v", err)
	}
	if err := c.stopAll(); err != nil {
		t.Errorf("stopAll: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(c.dir, "stopped")); err != nil || string(b) != "north\nhub\n" {
		t.Errorf("stopped in the order %q, %v", b, err)
	}
	if err := c.alive(); err != nil {
		t.Errorf("what was stopped is missed: %v", err)
	}
}

func TestChildStoppedBeforeItListens(t *testing.T) {
	c := stage(t, `echo ready; exec sleep 600`)
	if err := c.start("early", "early"); err != nil {
		t.Fatal(err)
	}
	written(t, filepath.Join(c.dir, "early.log"), "ready")
	if err := c.stop("early"); err != nil {
		t.Errorf("stop: %v", err)
	}
	c = stage(t, `trap 'exit 5' INT; echo ready; while :; do sleep 0.01; done`)
	if err := c.start("bad", "bad"); err != nil {
		t.Fatal(err)
	}
	written(t, filepath.Join(c.dir, "bad.log"), "ready")
	if err := c.stop("bad"); err == nil || !strings.Contains(err.Error(), "stop bad: exit status 5") {
		t.Errorf("stop of one that ends badly: %v", err)
	}
}

func TestChildThatDoesNotEndIsKilled(t *testing.T) {
	c := stage(t, `trap '' INT; echo ready; while :; do sleep 0.01; done`)
	c.patience = 50 * time.Millisecond
	if err := c.start("deaf", "deaf"); err != nil {
		t.Fatal(err)
	}
	written(t, filepath.Join(c.dir, "deaf.log"), "ready")
	k := c.list[0]
	if err := c.stop("deaf"); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("stop: %v", err)
	}
	<-k.done
}

func TestProgramThatIsNotThere(t *testing.T) {
	c := stage(t, "")
	c.program += "-not"
	if err := c.start("hub", "hub"); err == nil || !strings.Contains(err.Error(), "start hub") {
		t.Errorf("start: %v", err)
	}
	if len(c.list) != 0 {
		t.Error("what never started is kept")
	}
	c.dir = filepath.Join(c.dir, "nowhere")
	if err := c.start("hub", "hub"); err == nil {
		t.Error("a directory that is not there is no error")
	}
}
