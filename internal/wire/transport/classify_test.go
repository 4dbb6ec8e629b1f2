package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// What a file of this machine does is no fault of the hub's.
func TestClassify_LocalErrorsStayLocal(t *testing.T) {
	_, local := os.Stat(filepath.Join(t.TempDir(), "gone.db"))
	if got := classify(fmt.Errorf("look for gone.db: %w", local)); errors.Is(got, ErrUnreachable) || !errors.Is(got, fs.ErrNotExist) {
		t.Errorf("a missing file is classified as %v", got)
	}
}
