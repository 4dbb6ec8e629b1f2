package serve

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
	"github.com/tidemark-sync/tidemark/internal/clock"
)

// front starts a hub with a console at an address.
func (w *world) front(listen string) (h *Hub, address, setup string) {
	w.t.Helper()
	cfg := w.config()
	if !exists(cfg.Dir.DB()) {
		cfg.ConfigFile, cfg.Import = w.path("tidemark.yaml"), w.source
	}
	cfg.Console = &ConsoleConfig{Listen: listen, Page: fstest.MapFS{"index.html": {Data: []byte("the page __NONCE__")}}, Version: "v1"}
	h, err := NewHub(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := h.Start(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = h.Stop() })
	w.hub = h
	address, setup = h.Console()
	return h, address, setup
}

// people is a client that trusts the hub's own certificate.
func (w *world) people() *http.Client {
	w.t.Helper()
	raw, err := os.ReadFile(w.hub.Dir().ConsoleCertificate())
	if err != nil {
		w.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
}

func TestPeopleComeInToAServingHub(t *testing.T) {
	w := newWorld(t)
	h, address, setup := w.front("127.0.0.1:0")
	res, err := w.people().Get(address)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || !strings.HasPrefix(string(page), "the page ") || strings.Contains(string(page), "__NONCE__") || res.ProtoMajor != 2 {
		t.Errorf("the page is %q, %v, %s", page, err, res.Proto)
	}
	_, secret, ok := strings.Cut(setup, "#/setup/")
	if !ok || !strings.HasPrefix(setup, address) {
		t.Fatalf("the link is %q", setup)
	}
	body, _ := json.Marshal(map[string]string{"secret": secret, "name": "Ada", "password": "a long sentence is good"})
	in, err := w.people().Post(address+"tidemark.admin.v1.Entrance/SetUp", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	_ = in.Body.Close()
	if in.StatusCode != http.StatusOK || len(in.Cookies()) != 1 {
		t.Fatalf("set up: %s", in.Status)
	}

	// At the data directory, beside the serving hub.
	off, err := OpenOffice(t.Context(), OfficeConfig{Dir: h.Dir(), Clock: clock.System{}, Rand: rand.Reader, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer off.Close()
	s, err := off.API("")
	if err != nil {
		t.Fatal(err)
	}
	if link := s.Link("x"); link != address+"#/setup/x" {
		t.Errorf("a link from the directory is %s", link)
	}
	add, err := s.Local().Fleet.Add(t.Context(), connect.NewRequest(&pb.AddDeviceRequest{Name: "till"}))
	if err != nil || !strings.HasPrefix(add.Msg.GetToken(), "tdm1_") {
		t.Fatalf("added %v, %v", add, err)
	}
	tables, err := s.Local().Data.Tables(t.Context(), connect.NewRequest(&pb.TablesRequest{}))
	if err != nil || len(tables.Msg.GetTables()) != 1 {
		t.Errorf("tables are %v, %v", tables, err)
	}

	// Who watches the serving hub hears of it.
	key, err := s.Local().People.AddToken(t.Context(), connect.NewRequest(&pb.AddTokenRequest{Name: "x", Role: pb.Role_ROLE_VIEWER}))
	if err != nil {
		t.Fatal(err)
	}
	at, err := h.Dir().ReadConsole()
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.Dial(api.Remote{URL: at.URL, Token: key.Msg.GetSecret(), Pin: at.Pin})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := c.Fleet.Watch(t.Context(), connect.NewRequest(&pb.WatchRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if !watch.Receive() {
		t.Fatal(watch.Err())
	}
	if _, err := s.Local().Fleet.Add(t.Context(), connect.NewRequest(&pb.AddDeviceRequest{Name: "till 2"})); err != nil {
		t.Fatal(err)
	}
	for watch.Receive() && watch.Msg().GetKind() != "fleet" {
		t.Logf("heard of %s", watch.Msg().GetKind())
	}
	if watch.Err() != nil {
		t.Error(watch.Err())
	}
	if err := h.Stop(); err != nil { // with the watch open
		t.Error(err)
	}
	if _, _, setup := w.front("127.0.0.1:0"); setup != "" {
		t.Errorf("a hub with an admin makes the link %s", setup)
	}
}

func TestWhereTheConsoleListens(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := listenConsole(taken.Addr().String(), ""); err == nil {
		t.Error("an address that somebody named was replaced by another one")
	}
	if _, err := listenConsole("", taken.Addr().String()); err == nil {
		t.Error("an address of the configuration was replaced by another one")
	}
	one, err := listenConsole("", "") // the usual port may be taken here, too
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := listenConsole("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if !strings.HasPrefix(two.Addr().String(), "127.0.0.1:") || two.Addr().String() == one.Addr().String() {
		t.Errorf("they listen at %s and %s", one.Addr(), two.Addr())
	}
	w := newWorld(t)
	if h, address, setup := w.front(ConsoleOff); address+setup != "" {
		t.Errorf("off, it is at %s", address)
	} else if err := h.Stop(); err != nil {
		t.Error(err)
	}
	w.yaml(shopYAML + "hub: {console: {off: true}}\n")
	other := newWorld(t)
	other.yaml(shopYAML + "hub: {console: {off: true}}\n")
	if _, address, _ := other.front(""); address != "" {
		t.Errorf("switched off, it is at %s", address)
	}
	if hostOf(":") != "" || hostOf("https://x:1") != "x" {
		t.Error("hosts are read wrongly")
	}
}

// A directory says where its hub is once nothing can keep the hub from serving: who
// waits for the file would else take one for up that ends a moment later.
func TestAHubThatCannotStartSaysNotWhereItIs(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	w := newWorld(t)
	cfg := w.config()
	cfg.ConfigFile, cfg.Import = w.path("tidemark.yaml"), w.source
	cfg.Console = &ConsoleConfig{Listen: taken.Addr().String()}
	if err := startFault(t, cfg); err == nil || !strings.Contains(err.Error(), "listen for the console on "+taken.Addr().String()) {
		t.Fatalf("a console's port that is taken: %v", err)
	}
	if at, err := cfg.Dir.ReadEndpoint(); err == nil {
		t.Errorf("the hub is said to be at %s", at.URL)
	}
}

// A password costs 64 MiB. Without the tidying they would be kept until two minutes
// later, or as the collector's headroom for longer.
func TestMemoryOfPasswordsIsGivenBack(t *testing.T) {
	w := newWorld(t)
	h, _, _ := w.front(ConsoleOff)
	debug.FreeOSMemory() // what the tests before left
	before := held()
	if _, err := h.office.People.Login(t.Context(), "nobody", "a password of nobody", ""); err == nil {
		t.Fatal("nobody logged in")
	}
	spent := held()
	if spent < before+48<<20 {
		t.Fatalf("a password took %d MiB: this test looks at the wrong thing", (spent-before)>>20)
	}
	tidy(h.office.People)
	if after := held(); after > before+16<<20 {
		t.Errorf("held: %d MiB before a login, %d MiB after it, %d MiB after the tidying", before>>20, spent>>20, after>>20)
	}
}

// held is the memory that this process's heap has from the system, in bytes.
func held() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}
