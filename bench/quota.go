package main

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quotaPeriod is how often a process that is held to a share of a core is looked at.
const quotaPeriod = 2 * time.Millisecond

// quotaBurst is how much unspent CPU time such a process keeps at most.
const quotaBurst = 10 * time.Millisecond

// holdTo holds a child process to a share of a core, as a small virtual machine's quota
// would: it is stopped while it has burnt more than its share. end lets it go, and returns
// when nothing holds it any more.
func holdTo(pid int, share float64) (end func(), err error) {
	used, err := burntBy(pid)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(quotaPeriod)
		defer tick.Stop()
		allowed, last := float64(used), time.Now()
		for {
			select {
			case <-done:
				_ = syscall.Kill(pid, syscall.SIGCONT)
				return
			case <-tick.C:
			}
			now, err := burntBy(pid)
			if err != nil { // it ended
				return
			}
			allowed += share * float64(time.Since(last))
			last = time.Now()
			allowed = min(allowed, float64(now+quotaBurst))
			sig := syscall.SIGCONT
			if float64(now) > allowed {
				sig = syscall.SIGSTOP
			}
			_ = syscall.Kill(pid, sig)
		}
	})
	return sync.OnceFunc(func() { close(done); wait.Wait() }), nil
}

// burntBy is the CPU time that a process used so far, by its CPU clock: see
// clock_getcpuclockid(3).
func burntBy(pid int) (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// hold holds every hub process to a share of a core, until release. Those that run in this
// very process are left alone.
func (y *yard) hold(share float64) (release func(), err error) {
	var ends []func()
	release = func() {
		for _, end := range ends {
			end()
		}
	}
	for _, p := range y.hubs {
		if p.pid == 0 || share >= 1 {
			continue
		}
		end, err := holdTo(p.pid, share)
		if err != nil {
			release()
			return nil, err
		}
		ends = append(ends, end)
	}
	return release, nil
}
