package page

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// policy is what browsers may do with the page: use its own style and script, ask it
// again, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

func head(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Sec-Fetch-Site, Sec-Fetch-Mode")
}

// guard answers requests that get nothing, and reports whether it did.
func (p *Page) guard(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page only shows: what it shows is changed with the tidemark command", http.StatusMethodNotAllowed)
	case !p.ours(r.Host):
		// A name that an attacker's name server points to this machine would make its page
		// one origin with ours.
		http.Error(w, "this page answers only under the machine's own name: open "+p.Address(), http.StatusMisdirectedRequest)
	case foreign(r.Header):
		http.Error(w, "another site's page asked for this: open "+p.Address()+" yourself", http.StatusForbidden)
	default:
		return false
	}
	return true
}

// ours reports whether a Host header names this machine, at the page's port.
func (p *Page) ours(host string) bool {
	at := p.at()
	name, port, err := net.SplitHostPort(host)
	if err != nil { // no port: the protocol's own
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "80"
	}
	if port != strconv.Itoa(int(at.Port())) {
		return false
	}
	if strings.EqualFold(name, "localhost") || strings.EqualFold(name, p.address.name) {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// foreign reports whether a browser says that another site's page asks. A link from
// there, which the person followed, is not that: that page does not see the answer.
func foreign(h http.Header) bool {
	site := h.Get("Sec-Fetch-Site")
	return (site == "cross-site" || site == "same-site") && h.Get("Sec-Fetch-Mode") != "navigate" || h.Get("Sec-Fetch-Dest") == "iframe"
}
