package page

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"

	"github.com/tidemark-sync/tidemark/internal/run"
)

//go:embed asset
var assets embed.FS

// kept are the files that a browser asks for beside the page, and their types.
var kept = map[string]string{
	"page.css": "text/css; charset=utf-8",
	"page.js":  "text/javascript; charset=utf-8",
	"mark.svg": "image/svg+xml",
}

// routes is the whole of what is served.
func (p *Page) routes() http.Handler {
	t := template.Must(template.ParseFS(assets, "asset/page.html")) // it is in the binary: tests have parsed it
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head(w.Header())
		if p.guard(w, r) {
			return
		}
		switch r.URL.Path {
		case "/":
			p.show(w, r, t)
		case "/status.json":
			p.status(w, r)
		default:
			p.asset(w, r)
		}
	})
}

// look looks at every file.
func (p *Page) look(r *http.Request) []seen {
	out := make([]seen, len(p.files))
	for i, g := range p.files {
		out[i] = g.look(r.Context(), p.cfg.Clock.Now())
	}
	return out
}

func (p *Page) show(w http.ResponseWriter, r *http.Request, t *template.Template) {
	var b bytes.Buffer
	v := viewer{now: p.cfg.Clock.Now(), zone: p.cfg.Zone}
	if err := t.Execute(&b, v.view(p.look(r), p.cfg.Version)); err != nil {
		p.log.Error("render the page", "error", err.Error())
		http.Error(w, "the page could not be rendered; tidemark status FILE shows the same", http.StatusInternalServerError)
		return
	}
	answer(w, "text/html; charset=utf-8", http.StatusOK, b.Bytes())
}

// A statusPage is what /status.json says: what `tidemark status --json` does, and of
// which files nothing can be said now.
type statusPage struct {
	Files  []*run.EdgeStatus `json:"files"`
	Errors []statusError     `json:"errors,omitempty"`
}

type statusError struct {
	File  string          `json:"file"`
	Error string          `json:"error"`
	Agent run.AgentStatus `json:"agent"`
}

// status answers 503 when a file cannot be read: a script that looks at the code alone
// must not take silence for safety.
func (p *Page) status(w http.ResponseWriter, r *http.Request) {
	out, code := statusPage{Files: []*run.EdgeStatus{}}, http.StatusOK
	for _, s := range p.look(r) {
		if s.Err != nil {
			out.Errors, code = append(out.Errors, statusError{File: s.File, Error: s.Err.Error(), Agent: s.Agent}), http.StatusServiceUnavailable
			continue
		}
		out.Files = append(out.Files, s.Sight.Status)
	}
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		p.log.Error("write the status", "error", err.Error())
		http.Error(w, "the status cannot be written as JSON; tidemark status FILE shows it", http.StatusInternalServerError)
		return
	}
	answer(w, "application/json", code, append(b, '\n'))
}

func (p *Page) asset(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[1:]
	form, ok := kept[name]
	if !ok {
		http.Error(w, "there is nothing here: open "+p.Address(), http.StatusNotFound)
		return
	}
	b, err := assets.ReadFile("asset/" + name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, form, http.StatusOK, b)
}

func answer(w http.ResponseWriter, form string, code int, b []byte) {
	w.Header().Set("Content-Type", form)
	w.WriteHeader(code)
	_, _ = w.Write(b) // who went away misses nothing
}
