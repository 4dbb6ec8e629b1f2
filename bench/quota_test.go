package main

import (
	"os/exec"
	"testing"
	"time"
)

// A process that is held to a share of a core gets no more, and all again when it is let go.
func TestHoldTo(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	pid := cmd.Process.Pid
	burn := func(d time.Duration) time.Duration {
		t.Helper()
		begun, err := burntBy(pid)
		if err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		from := time.Now()
		for now := begun; now < begun+d; {
			if time.Since(from) > time.Minute {
				t.Fatalf("it burnt %v in a minute", now-begun)
			}
			<-tick.C
			if now, err = burntBy(pid); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(from)
	}
	burn(10 * time.Millisecond)
	end, err := holdTo(pid, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	if took := burn(100 * time.Millisecond); took < 300*time.Millisecond {
		t.Errorf("at a fifth of a core 100 ms were burnt in %v", took)
	}
	end()
	burn(50 * time.Millisecond) // it runs
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := holdTo(pid, 0.2); err == nil {
		t.Error("a process that ended is held")
	}
}
