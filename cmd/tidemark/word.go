package main

import "github.com/tidemark-sync/tidemark/internal/run"

// word writes a path the way a shell takes it, for commands that people copy.
func word(path string) string { return run.Word(path) }
