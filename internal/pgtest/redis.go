package pgtest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark-sync/tidemark/internal/ward"
)

// A Redis is a running Redis that keeps nothing on disk. Its methods may be called
// concurrently.
type Redis struct {
	den  *ward.Den
	proc *ward.Process
}

// NewRedis starts a Redis for one test, which may kill it and start it again.
func NewRedis(t testing.TB, settings ...string) *Redis {
	t.Helper()
	bin, err := ward.Find("/usr/bin/redis-server", "redis-server")
	if err != nil {
		t.Fatal(err)
	}
	den, err := ward.Open("redis")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := den.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &Redis{den: den}
	r.proc, err = den.Start(t.Context(), bin, r.ready, append([]string{
		"--port", "0", "--unixsocket", r.socket(), "--save", "", "--appendonly", "no",
		"--dir", den.Path, "--proc-title-template", "{title} {unixsocket}",
	}, settings...)...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Redis) socket() string { return filepath.Join(r.den.Path, "redis.sock") }

func (r *Redis) ready(ctx context.Context) error { return knock(ctx, r.socket()) }

// URL is where the server is reached.
func (r *Redis) URL() string { return "unix://" + r.socket() }

// Kill ends the server at once. What it held is gone.
func (r *Redis) Kill(t testing.TB) {
	t.Helper()
	err := r.proc.Kill()
	if err == nil {
		err = os.Remove(r.socket())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// Start starts the server again after Kill, empty.
func (r *Redis) Start(t testing.TB) {
	t.Helper()
	if err := r.proc.Start(t.Context(), r.ready); err != nil {
		t.Fatal(err)
	}
}
