package pgtest

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
)

// Save stops the server, copies its disk, as a snapshot of the machine would, and
// starts it again. The copy before is forgotten.
func (s *Postgres) Save(ctx context.Context) error {
	return s.whileDown(ctx, func(data, saved string) error {
		if err := os.RemoveAll(saved); err != nil {
			return err
		}
		return s.den.Run(ctx, "cp", "-a", data, saved)
	})
}

// PutBack puts the disk of the last Save in the place of the present one: the server
// knows nothing of what came since, and gives out the same transaction numbers again.
func (s *Postgres) PutBack(ctx context.Context) error {
	return s.whileDown(ctx, func(data, saved string) error {
		if err := os.RemoveAll(data); err != nil {
			return err
		}
		return os.Rename(saved, data)
	})
}

func (s *Postgres) whileDown(ctx context.Context, do func(data, saved string) error) error {
	data := filepath.Join(s.den.Path, "data")
	if err := s.proc.Stop(syscall.SIGINT); err != nil {
		return err
	}
	return firstOf(do(data, data+".saved"), s.proc.Start(ctx, s.ready))
}

// Crash ends the server as if it were killed, and starts it again. Without
// synchronous_commit, what was committed last may be gone.
func (s *Postgres) Crash(ctx context.Context) error {
	if err := s.proc.Kill(); err != nil {
		return err
	}
	return s.again(ctx)
}

// crashTries is how often the server is started after a crash. It refuses while one
// of its former processes, which notice that their parent is gone, still runs.
const crashTries = 100

// again starts the server that was killed or stopped.
func (s *Postgres) again(ctx context.Context) error {
	for try := 1; ; try++ {
		err := s.proc.Start(ctx, s.ready)
		if err == nil || try == crashTries || ctx.Err() != nil {
			return err
		}
		if err := s.proc.Kill(); err != nil { // it may have answered nobody, and run
			return err
		}
	}
}
