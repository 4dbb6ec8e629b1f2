//go:build !noconsole

package console

import (
	"embed"
	"io/fs"
)

// A clone without a build has dist/.keep alone, so that it compiles.
//
//go:embed all:dist
var built embed.FS

// Files is the built page, rooted where index.html is. False: this binary was built
// without it. The page is the same for everybody: who serves it puts the answer's own
// nonce in the place of Nonce.
func Files() (fs.FS, bool) {
	root, err := fs.Sub(built, "dist")
	if err != nil {
		return nil, false
	}
	if _, err := fs.Stat(root, "index.html"); err != nil {
		return nil, false
	}
	return root, true
}
