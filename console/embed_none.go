//go:build noconsole

package console

import "io/fs"

// Files says that this binary was built without the page.
func Files() (fs.FS, bool) { return nil, false }
