package api

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

// What index.html has in the place of the nonce, and of whether who asks seems to be
// logged in ("yes"): the page then asks for what it will show before it is there itself.
const (
	nonceMark = "__NONCE__"
	inMark    = "__IN__"
)

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
	body      []byte
	packed    map[string][]byte // by encoding; empty where packing does not pay
	kind, tag string
}

// packings are how files may be packed, best first, and how the names end of those that
// the build packed.
var packings = []struct{ encoding, ending string }{{"br", ".br"}, {"gzip", ".gz"}}

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
			if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") || packed(name) {
				return nil //nolint:nilerr // it is not there, then
			}
			if body, err := fs.ReadFile(files, name); err == nil {
				out["/"+name] = newAsset(files, name, body)
			}
			return nil
		})
	}
	if out["/index.html"] == nil {
		out["/index.html"] = newAsset(nil, "index.html", []byte(unbuilt))
	}
	return out
}

// packed reports whether a file is another one, packed.
func packed(name string) bool {
	for _, p := range packings {
		if strings.HasSuffix(name, p.ending) {
			return true
		}
	}
	return false
}

func newAsset(files fs.FS, name string, body []byte) *asset {
	sum := sha256.Sum256(body)
	a := &asset{body: body, tag: `"` + hex.EncodeToString(sum[:12]) + `"`, packed: map[string][]byte{}}
	kind, text := textual[path.Ext(name)]
	if a.kind = kind; !text {
		if a.kind = mime.TypeByExtension(path.Ext(name)); a.kind == "" {
			a.kind = "application/octet-stream"
		}
		return a
	}
	for _, p := range packings {
		if files == nil {
			break
		}
		if b, err := fs.ReadFile(files, name+p.ending); err == nil {
			a.packed[p.encoding] = b
		}
	}
	return a
}

// serve answers with a file. Addresses within the console are its index.
func (p *page) serve(w http.ResponseWriter, r *http.Request, nonce string) {
	assets := p.load()
	a := assets[path.Clean(r.URL.Path)]
	if a == nil && path.Ext(r.URL.Path) == "" || r.URL.Path == "/index.html" {
		p.index(w, r, assets["/index.html"], nonce)
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
	for _, p := range packings {
		if b := a.packed[p.encoding]; b != nil && accepts(r, p.encoding) {
			h.Set("Content-Encoding", p.encoding)
			body = b
			break
		}
	}
	_, _ = w.Write(body) // a caller that went away misses nothing
}

// accepts reports whether who asks takes an encoding. Who says how much they like it
// (";q=") is no browser, and gets what needs no unpacking.
func accepts(r *http.Request, encoding string) bool {
	for e := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if strings.TrimSpace(e) == encoding {
			return true
		}
	}
	return false
}

// index is the one file that is different each time: the nonce is in it.
func (p *page) index(w http.ResponseWriter, r *http.Request, a *asset, nonce string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	in := ""
	if _, err := r.Cookie(cookieName); err == nil { // whether it still counts is found out when it is used
		in = "yes"
	}
	_, _ = strings.NewReplacer(nonceMark, nonce, inMark, in).WriteString(w, string(a.body)) // a caller that went away misses nothing
}
