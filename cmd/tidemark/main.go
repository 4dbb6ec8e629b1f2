// Command tidemark is the one binary: hub, agent, and everything the person who
// runs them needs. One file per verb; main wires them in the order that help
// lists them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(execute(os.Args[1:])) }

// execute runs one command line and returns its exit code.
func execute(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first interrupt ends the work in order, a second one at once: what is on
	// disk is consistent at any moment.
	context.AfterFunc(ctx, stop)
	d := newDoor(os.Stdin, os.Stdout, os.Stderr)
	root := newRoot(d)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return d.finish(err)
}
