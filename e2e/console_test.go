package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark-sync/tidemark/internal/cable"
)

// screenshots has the guide's pictures drawn anew by the console's story.
var screenshots = flag.Bool("screenshots", false, "rewrite docs/guide/console/*.png")

// envShots names the directory that keeps a picture of every page.
const envShots = "TIDEMARK_SCREENSHOTS"

const clinicDDL = `PRAGMA journal_mode=WAL;
CREATE TABLE patient (id TEXT PRIMARY KEY, name TEXT NOT NULL, phone TEXT, allergies TEXT, note TEXT);
CREATE TABLE room (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE visit (id TEXT PRIMARY KEY, patient_id TEXT NOT NULL REFERENCES patient(id), room_id TEXT NOT NULL REFERENCES room(id),
	at TEXT NOT NULL, minutes INTEGER NOT NULL, UNIQUE (room_id, at));
INSERT INTO patient VALUES ('p1', 'Ada Brandt', '030-5550100', 'none', 'prefers mornings'), ('p2', 'Emil Sand', '030-5550101', 'nuts', NULL),
	('p3', 'Ines Ortega', '030-5550102', 'none', NULL), ('p4', 'Jonas Weber', '030-5550103', NULL, 'wheelchair');
INSERT INTO room VALUES ('r1', 'Treatment room 1'), ('r2', 'Treatment room 2');
INSERT INTO visit VALUES ('v1', 'p1', 'r1', '2026-12-01 09:00', 30);`

const clinicRules = `
hub:
  name: Lakeside Clinics
  url: https://%s
  console: {listen: "%s", url: "https://%s"}
tables:
  patient: {scope: all, columns: {allergies: {policy: manual}}}
  room: {scope: all}
  visit: {scope: all}
`

// A clinic is a hub with its console, its devices, and the line between them. The
// browser's script gives it orders; they are carried out one at a time, in the test's
// own goroutine.
type clinic struct {
	*town
	t      *testing.T
	line   *cable.Link // between the hub and the devices that the console enrolled
	people string      // the console's address
	sites  map[string]string
	agents map[string]*proc
}

// freePort is one that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	dir := t.TempDir()
	listen, port := "127.0.0.1:"+freePort(t), freePort(t)
	line, err := cable.New(listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	c := &clinic{t: t, line: line, people: "localhost:" + port, sites: map[string]string{}, agents: map[string]*proc{},
		town: &town{dir: dir, data: filepath.Join(dir, "hub"), listen: listen}}
	source, conf := filepath.Join(dir, "clinic.db"), filepath.Join(dir, "tidemark.yaml")
	shell(t, source, clinicDDL)
	if err := os.WriteFile(conf, fmt.Appendf(nil, clinicRules, line.Addr(), "127.0.0.1:"+port, c.people), 0o600); err != nil {
		t.Fatal(err)
	}
	c.open("--config", conf, "--import", source)
	return c
}

// open starts the hub and waits until it lets people in.
func (c *clinic) open(more ...string) {
	c.t.Helper()
	c.hub = start(c.t, "", append([]string{"hub", "--data", c.data, "--listen", c.listen}, more...)...)
	eventually(c.t, 90*time.Second, "the console answers", func() bool {
		select {
		case <-c.hub.done:
			c.t.Fatalf("the hub ended:\n%s", c.hub.log())
		default:
		}
		conn, err := net.Dial("tcp", strings.Replace(c.people, "localhost", "127.0.0.1", 1))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil && strings.Contains(c.hub.log(), "console: ")
	})
}

var setupLink = regexp.MustCompile(`https://\S+#/setup/\S+\n`)

// link is the one by which the first admin comes in, once the hub printed it.
func (c *clinic) link() (link string) {
	c.t.Helper()
	eventually(c.t, 30*time.Second, "the hub printed a link for the first admin", func() bool {
		link = strings.TrimSpace(setupLink.FindString(c.hub.log()))
		return link != ""
	})
	return link
}

// key is the hash of the console's key, as a browser takes it in place of a
// certificate that somebody signed.
func (c *clinic) key() string {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.data, "console-tls", "cert.pem"))
	if err != nil {
		c.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// An order is what the browser's script wants done outside the browser.
type order struct {
	Do   string   `json:"do"`
	At   string   `json:"at"` // a site, or "hub"
	Text string   `json:"text"`
	Args []string `json:"args"`

	answer chan reply
}

type reply struct {
	Out  string `json:"out"`
	Code int    `json:"code"`
}

func (c *clinic) file(at string) string {
	if at == "hub" {
		return c.db()
	}
	if f, ok := c.sites[at]; ok {
		return f
	}
	c.t.Fatalf("the script names a site that never joined: %q", at)
	return ""
}

// carry carries an order out.
func (c *clinic) carry(o order) reply {
	c.t.Helper()
	switch o.Do {
	case "sql":
		return reply{Out: shell(c.t, c.file(o.At), o.Text)}
	case "cut":
		c.line.Cut()
	case "mend":
		c.line.Restore()
	case "enrol": // a site that does not come by the line
		c.join(o.At, mustJSON[struct {
			Token string `json:"token"`
		}](c.t, "device", "add", o.At, "--data", c.data, "--scope", "all", "--url", "https://"+c.listen).Token)
	case "join":
		c.join(o.At, o.Text)
	case "agent": // started, or started again
		if a := c.agents[o.At]; a != nil {
			a.kill()
		}
		c.agents[o.At] = start(c.t, "", "edge", c.file(o.At))
	case "kill":
		c.hub.kill()
	case "open":
		c.open()
	case "run": // FILE:site and DATA stand for paths
		for i, a := range o.Args {
			if site, ok := strings.CutPrefix(a, "FILE:"); ok {
				o.Args[i] = c.file(site)
			} else if a == "DATA" {
				o.Args[i] = c.data
			}
		}
		out, errs, code := try(c.t, o.Args...)
		return reply{Out: out + errs, Code: code}
	default:
		c.t.Fatalf("the script gives an unknown order: %+v", o)
	}
	return reply{}
}

func (c *clinic) join(name, token string) {
	c.t.Helper()
	file := filepath.Join(c.dir, name+".db")
	must(c.t, "join", strings.TrimSpace(token), file)
	c.sites[name] = file
	c.agents[name] = start(c.t, "", "edge", file)
}

// office takes the script's orders.
func office(t *testing.T) (string, <-chan order) {
	t.Helper()
	orders := make(chan order)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := order{answer: make(chan reply, 1)}
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case orders <- o:
		case <-r.Context().Done():
			return
		}
		select {
		case a := <-o.answer:
			_ = json.NewEncoder(w).Encode(a)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, orders
}

// A stage is what the browser's script is told.
type stage struct {
	URL      string `json:"url"`
	Setup    string `json:"setup"`
	Key      string `json:"key"` // of the console's certificate
	Office   string `json:"office"`
	Chromium string `json:"chromium"`
	Shots    string `json:"shots"`
	Guide    string `json:"guide"` // where the guide's pictures go; "" nowhere
}

// needPage fails the test without the page in the binary, or without what drives it.
func needPage(t *testing.T) (chromium string) {
	t.Helper()
	if testing.Short() {
		t.Skip("minutes of a browser")
	}
	need(t, "sqlite3", "chromium")
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: install node 20 or newer, with npm", tool)
		}
	}
	if _, err := os.Stat(filepath.Join("..", "console", "dist", "index.html")); err != nil || page != nil {
		t.Fatalf("the console was not built: %v\nrun scripts/console", errors.Join(page, err))
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	return chromium
}

// play runs a script of console/e2e to its end, and carries its orders out meanwhile.
func play(t *testing.T, script string, limit time.Duration, s stage, orders <-chan order, carry func(order) reply) string {
	t.Helper()
	told, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "node_modules/vitest/vitest.mjs", "run", "--config", "e2e/vitest.config.ts", script)
	cmd.Dir = filepath.Join("..", "console")
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "TIDEMARK_STAGE="+string(told))
	// An order that cannot be carried out ends the test, and the script with all that it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		done <- cmd.Wait()
	}()
	t.Cleanup(func() {
		<-ended // for ctx has
		if t.Failed() {
			t.Logf("%s", tail(out.String(), 200))
		}
	})
	for {
		select {
		case o := <-orders:
			o.answer <- carry(o)
		case err := <-done:
			if err != nil {
				t.Errorf("the browser's script: %v", errors.Join(ctx.Err(), err))
			}
			if !t.Failed() {
				t.Logf("%s", tail(out.String(), 200))
			}
			return out.String()
		}
	}
}

// One day of an operator, in a real browser, with a real hub and real devices: from the
// link that the hub prints at its first start to the revocation of a device. Each page is
// looked at in both widths and both themes.
func TestConsole_Story(t *testing.T) {
	chromium := needPage(t)
	c := newClinic(t)
	at, orders := office(t)
	shots := os.Getenv(envShots)
	if shots == "" {
		shots = t.TempDir()
	}
	s := stage{URL: "https://" + c.people, Setup: c.link(), Key: c.key(), Office: at, Chromium: chromium, Shots: absolute(t, shots)}
	if *screenshots {
		s.Guide = absolute(t, filepath.Join("..", "docs", "guide", "console"))
	}
	play(t, "story", 20*time.Minute, s, orders, c.carry)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(full, 0o755); err != nil {
		t.Fatal(err)
	}
	return full
}
