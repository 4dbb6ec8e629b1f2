package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// maker counts how often a value was made.
type maker struct{ made atomic.Int64 }

func (m *maker) fill(value string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) {
		m.made.Add(1)
		return []byte(value), nil
	}
}

func want(t *testing.T, value string) func([]byte, error) {
	t.Helper()
	return func(got []byte, err error) {
		t.Helper()
		if err != nil || string(got) != value {
			t.Errorf("got %q, %v, want %q", got, err, value)
		}
	}
}

func TestOneMakesAValueForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewMemory(0)
		var m maker
		ready := make(chan struct{})
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				want(t, "value")(c.Get(t.Context(), "key", func(ctx context.Context) ([]byte, error) {
					<-ready
					return m.fill("value")(ctx)
				}))
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Get(ctx, "key", m.fill("other")); !errors.Is(err, context.Canceled) {
			t.Errorf("who went away got %v", err)
		}
		close(ready)
		wait.Wait()
		if n := m.made.Load(); n != 1 {
			t.Errorf("made %d times", n)
		}
		if s := c.Stats(); s.Hits != 49 || s.Misses != 1 || s.Bytes == 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Who fails to make a value fails alone: the next one tries.
func TestAFailureIsOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewMemory(0)
		var m maker
		fail := make(chan struct{})
		first := make(chan error)
		go func() {
			_, err := c.Get(t.Context(), "key", func(context.Context) ([]byte, error) {
				<-fail
				return nil, errors.New("gone")
			})
			first <- err
		}()
		synctest.Wait()
		second := make(chan struct{})
		go func() {
			want(t, "value")(c.Get(t.Context(), "key", m.fill("value")))
			close(second)
		}()
		synctest.Wait()
		close(fail)
		if err := <-first; err == nil {
			t.Error("it did not fail")
		}
		<-second
		want(t, "value")(c.Get(t.Context(), "key", m.fill("again")))
		if n := m.made.Load(); n != 1 {
			t.Errorf("made %d times", n)
		}
	})
}

func TestMemoryForgetsWhatWasNotAskedForTheLongest(t *testing.T) {
	c := NewMemory(10_000)
	var m maker
	value := string(make([]byte, 600))
	get := func(i int) { want(t, value)(c.Get(t.Context(), fmt.Sprint("key", i), m.fill(value))) }
	for i := range 100 {
		get(i)
		get(0) // asked for all the time
		if s := c.Stats(); s.Bytes > 10_000 {
			t.Fatalf("it keeps %d bytes", s.Bytes)
		}
	}
	if n := m.made.Load(); n != 100 {
		t.Errorf("made %d values, want 100", n)
	}
	get(50)
	if n := m.made.Load(); n != 101 {
		t.Error("what was forgotten is still there")
	}
	big := string(make([]byte, 2000)) // more than its part: it would push out all the others
	for range 2 {
		want(t, big)(c.Get(t.Context(), "big", m.fill(big)))
	}
	if n := m.made.Load(); n != 103 {
		t.Errorf("made %d values, want 103", n)
	}
}
