package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/tidemark-sync/tidemark/internal/wire"
)

// The ways in which a path names no file.
var (
	ErrNoFile = errors.New("no such file")
	ErrNoDir  = errors.New("no such directory")
	ErrDir    = errors.New("a directory, not a file")
)

// NamesFile returns ErrNoFile or ErrDir, naming the path, when no file is there.
func NamesFile(path string) error {
	s, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", path, ErrNoFile)
	case err == nil && s.IsDir():
		return fmt.Errorf("%s: %w", path, ErrDir)
	}
	return nil // what else is wrong shows when it is opened
}

// place looks whether a file could be at the path: a mistyped one must neither
// cost the token nor make directories.
func (e Edge) place() error {
	if err := NamesFile(e.File); errors.Is(err, ErrDir) {
		return err
	}
	dir := filepath.Dir(e.File)
	s, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !s.IsDir() {
		return fmt.Errorf("%s: %w: %s", e.File, ErrNoDir, dir)
	}
	return nil
}

// forget removes the side directory that an attempt to join made, when its key
// can be of no further use: the hub said no, or never heard of it. After a lost
// answer the key is what lets the same token in again.
func (e Edge) forget(made bool, err error) {
	var f *wire.Fault
	if made && (errors.As(err, &f) && f.Fatal || !hasKey(e.File)) {
		_ = os.RemoveAll(SideDir(e.File)) // a leftover is harmless
	}
}

func hasKey(file string) bool {
	_, err := os.Stat(keyPath(file))
	return err == nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Word writes a path the way a shell takes it, for commands that people copy.
func Word(path string) string {
	if plainWord.MatchString(path) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
