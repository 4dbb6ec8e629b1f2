package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark-sync/tidemark/internal/pgtest"
)

// The PostgreSQL server of a run, on the disk that is measured, with fsync. What is not
// said here is as PostgreSQL itself has it.
var serverSettings = []string{
	"fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=256MB", "max_wal_size=2GB", "autovacuum_naptime=1min",
	"shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=none",
}

// onServer starts the server, runs fn, and stops it again. Meanwhile the server's CPU
// time counts to the side that is measured.
func (b *bench) onServer(fn func() error) (err error) {
	s, err := pgtest.Run(context.Background(), pgtest.Options{Durable: true, Base: b.disk, Settings: serverSettings})
	if err != nil {
		return err
	}
	defer func() {
		b.server = nil
		if e := s.Close(); err == nil {
			err = e
		}
	}()
	b.server = s
	was, name := b.ours, b.label
	b.ours, b.label = served, "PG "
	defer func() { b.ours, b.label = was, name }()
	return fn()
}

// database makes an empty one on the server.
func (b *bench) database() (string, error) {
	b.files++
	return b.server.Create(context.Background(), fmt.Sprint("bench", b.files))
}

// with adds a setting to a DSN.
func with(dsn, name, value string) string {
	return dsn + "&" + url.QueryEscape(name) + "=" + url.QueryEscape(value)
}

// serverCPU is the CPU time that the server's processes used so far, those that have
// ended included; 0 without a server.
func (b *bench) serverCPU() time.Duration {
	if b.server == nil {
		return 0
	}
	t, err := treeCPU(b.server.Pid())
	if err != nil {
		return 0
	}
	return t
}

// treeCPU adds up a process, its children, and what it reaped. A child that ends while
// it is looked at would count twice, or not at all: then it is looked at again.
func treeCPU(pid int) (time.Duration, error) {
	for {
		before, err := childrenOf(pid)
		if err != nil {
			return 0, err
		}
		var sum time.Duration
		whole := true
		for _, c := range before {
			t, err := processCPU(c)
			whole = whole && err == nil
			sum += t
		}
		own, err := processCPU(pid)
		if err != nil {
			return 0, err
		}
		dead, err := reapedCPU(pid)
		if err != nil {
			return 0, err
		}
		after, err := childrenOf(pid)
		if err != nil {
			return 0, err
		}
		if whole && fmt.Sprint(before) == fmt.Sprint(after) {
			return sum + own + dead, nil
		}
	}
}

func childrenOf(pid int) ([]int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	var out []int
	for _, f := range strings.Fields(string(raw)) {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// processCPU is how long a process of one thread ran, to the nanosecond.
func processCPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(raw), " ")
	n, err := strconv.ParseInt(first, 10, 64)
	return time.Duration(n), err
}

// reapedCPU is how long the children ran that a process has waited for.
func reapedCPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // the name may hold blanks
	f := strings.Fields(rest)
	if len(f) < 15 {
		return 0, fmt.Errorf("read /proc/%d/stat: %q", pid, raw)
	}
	var ticks int64
	for _, s := range f[13:15] { // cutime and cstime, fields 16 and 17 of proc(5)
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / clockTicks), nil
}

// clockTicks is USER_HZ, which is 100 on every Linux.
const clockTicks = 100
