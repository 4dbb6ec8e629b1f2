package tidemarktest

import (
	"fmt"
	"os"
	"time"
)

// T is what this package needs of a test: *testing.T, *testing.B and *testing.F
// are one.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
	TempDir() string
}

// Run gives a program that is no test, such as an example, a T: what a test would
// clean up is cleaned up when f returns, and Fatalf panics.
func Run(f func(t T)) {
	p := &program{}
	defer p.end()
	f(p)
}

// A program is a T outside tests.
type program struct{ cleanup []func() }

func (p *program) Helper() {}

func (p *program) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (p *program) Cleanup(f func()) { p.cleanup = append(p.cleanup, f) }

func (p *program) TempDir() string {
	dir, err := os.MkdirTemp("", "tidemarktest")
	if err != nil {
		p.Fatalf("make a directory: %v", err)
	}
	p.Cleanup(func() { _ = os.RemoveAll(dir) }) // the system clears it away otherwise
	return dir
}

func (p *program) end() {
	for i := len(p.cleanup) - 1; i >= 0; i-- {
		p.cleanup[i]()
	}
}

// eventuallyFor is how long Eventually and Settle go on.
const eventuallyFor = 30 * time.Second

// Eventually asks ok until it says yes, every few milliseconds, and fails the test
// when it does not within half a minute.
func Eventually(t T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(eventuallyFor)
	defer end.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("never: %s", what)
			return
		}
	}
}
