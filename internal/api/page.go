package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

// nonceMark is what index.html has in the place of the nonce.
const nonceMark = "__NONCE__"

// unbuilt stands in the console's place in a binary without it.
const unbuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tidemark</title></head>
<body><h1>The console was not built into this binary</h1>
<p>Build it with <code>make build</code>, which needs npm. Everything that it does, <code>tidemark</code> does, too: see <code>tidemark help</code>.</p>
</body></html>
`

// A page is the console's files, read when somebody asks first.
type page struct {
	load func() map[string]*asset
}

// An asset is one file.
type asset struct {
	body, packed []byte // packed with gzip; nil where that does not pay
	kind, tag    string
}

// textual are the endings of files that are worth packing.
var textual = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	".json": "application/json", ".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8",
}

func newPage(files fs.FS) *page {
	return &page{load: sync.OnceValue(func() map[string]*asset { return readAssets(files) })}
}

// readAssets reads all files; those that cannot be read are not there.
func readAssets(files fs.FS) map[string]*asset {
	out := map[string]*asset{}
	if files != nil {
		_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
				return nil //nolint:nilerr // it is not there, then
			}
			if body, err := fs.ReadFile(files, name); err == nil {
				out["/"+name] = newAsset(name, body)
			}
			return nil
		})
	}
	if out["/index.html"] == nil {
		out["/index.html"] = newAsset("index.html", []byte(unbuilt))
	}
	return out
}

func newAsset(name string, body []byte) *asset {
	sum := sha256.Sum256(body)
	a := &asset{body: body, tag: `"` + hex.EncodeToString(sum[:12]) + `"`}
	kind, text := textual[path.Ext(name)]
	if a.kind = kind; !text {
		if a.kind = mime.TypeByExtension(path.Ext(name)); a.kind == "" {
			a.kind = "application/octet-stream"
		}
		return a
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return a
	}
	if _, err = z.Write(body); err == nil && z.Close() == nil && b.Len() < len(body) {
		a.packed = b.Bytes()
	}
	return a
}

// serve answers with a file. Addresses within the console are its index.
func (p *page) serve(w http.ResponseWriter, r *http.Request, nonce string) {
	assets := p.load()
	a := assets[path.Clean(r.URL.Path)]
	if a == nil && path.Ext(r.URL.Path) == "" || r.URL.Path == "/index.html" {
		p.index(w, assets["/index.html"], nonce)
		return
	}
	if a == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", a.tag)
	// Names below assets hold a hash of what is in them.
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(r.URL.Path, "/assets/") {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if strings.Contains(r.Header.Get("If-None-Match"), a.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.body
	if a.packed != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.packed
	}
	_, _ = w.Write(body) // a caller that went away misses nothing
}

// index is the one file that is different each time: the nonce is in it.
func (p *page) index(w http.ResponseWriter, a *asset, nonce string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(bytes.ReplaceAll(a.body, []byte(nonceMark), []byte(nonce))) // a caller that went away misses nothing
}
