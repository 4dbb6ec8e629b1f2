package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb"
)

// refusal is an error as the admin API sends it.
func refusal(t *testing.T, code connect.Code, name, message, hint string) error {
	t.Helper()
	e := connect.NewError(code, errors.New(message))
	d, err := connect.NewErrorDetail(&pb.ErrorInfo{Code: name, Hint: hint})
	if err != nil {
		t.Fatal(err)
	}
	e.AddDetail(d)
	return e
}

func TestRefusalsHaveTheirExitCodes(t *testing.T) {
	for _, c := range []struct {
		code connect.Code
		name string
		want int
		hint string
	}{
		{connect.CodeNotFound, "no-such-device", exitUsage, "tidemark device list shows them"},
		{connect.CodeInvalidArgument, "invalid", exitUsage, "its own"},
		{connect.CodeAborted, "stale", exitFailed, "look at it as it is now, then decide anew: --at takes its version"},
		{connect.CodeFailedPrecondition, "already-undone", exitFailed, "the undo has a receipt of its own: undo that one to turn it round again"},
		{connect.CodeFailedPrecondition, "not-held", exitUsage, "tidemark device list shows which are held"},
		{connect.CodeUnauthenticated, "session", exitRefused, "its own"},
		{connect.CodePermissionDenied, "role", exitRefused, "an admin makes a token that may: tidemark people token add NAME --role ROLE"},
		{connect.CodeResourceExhausted, "too-many-tries", exitUnreachable, "its own"},
		{connect.CodeUnavailable, "behind", exitUnreachable, "its own"},
		{connect.CodeInternal, "internal", exitFailed, "its own"},
	} {
		err := explainAPI(refusal(t, c.code, c.name, "what happened: 100%", "its own"))
		var f *failure
		if !errors.As(err, &f) || f.code != c.want || f.hint != c.hint || f.Error() != "what happened: 100%" {
			t.Errorf("%s: %+v", c.name, err)
		}
	}
	mine := fail(exitNotInSync, errors.New("mine"), "hint")
	for _, err := range []error{nil, errors.New("plain"), mine, context.Canceled} {
		if got := explainAPI(err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	if err := explainAPI(connect.NewError(connect.CodeCanceled, errors.New("gone"))); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if says(errors.New("plain"), "stale") || !says(refusal(t, connect.CodeAborted, "stale", "x", ""), "stale") {
		t.Error("a code is not told from another one")
	}
}

// statusOf runs tidemark status on what answers at an address.
func statusOf(t *testing.T, more ...string) (*failure, string) {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret-of-mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	root := newRoot(&door{out: &out, err: &out, in: strings.NewReader("")})
	root.SetArgs(append([]string{"status", "--token", token}, more...))
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	err := root.ExecuteContext(ctx)
	if err == nil {
		return nil, out.String()
	}
	f := explain(err)
	return f, fmt.Sprintf("%s\n%s", f.err, f.hint)
}

// What answers may be anything: a page, a proxy that is in trouble, a hub that stops.
func TestWhatAnswersIsNoHub(t *testing.T) {
	var answer http.HandlerFunc
	var tokens []string
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		answer(w, r)
	}))
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // that somebody mistrusts it is what we want
	web.StartTLS()
	defer web.Close()
	pin := change.Hash(sha256.Sum256(web.Certificate().RawSubjectPublicKeyInfo)).String()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		flags  []string
		code   int
		say    []string
		heard  bool // the token was sent
	}{
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") }, []string{"--pin", pin}, exitUnreachable, []string{"hub " + web.URL}, true},
		{"not found", http.NotFound, []string{"--ca", ca}, exitUnreachable, []string{"does not answer as a hub's console does: 404"}, true},
		{"in trouble", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, []string{"--pin", "SHA256:" + strings.ToUpper(pin)}, exitUnreachable, []string{"502", "check the address"}, true},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}, []string{"--pin", pin}, exitUnreachable, []string{"hub " + web.URL}, true},
		{"no trust", http.NotFound, nil, exitRefused, []string{"nobody whom this machine trusts vouches", "its pin is " + pin, "--pin " + pin}, false},
		{"another key", http.NotFound, []string{"--pin", strings.Repeat("ab", 32)}, exitRefused, []string{"another key than the one that was pinned", "the token was not sent"}, false},
		{"stops", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"code":"unavailable","message":"the hub is stopping"}`)
		}, []string{"--pin", pin}, exitUnreachable, []string{"hub " + web.URL + ": the hub is stopping"}, true},
	} {
		answer, tokens = c.answer, nil
		f, text := statusOf(t, append([]string{"--hub", web.URL}, c.flags...)...)
		if f == nil || f.code != c.code {
			t.Errorf("%s: %s", c.name, text)
			continue
		}
		for _, want := range c.say {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in:\n%s", c.name, want, text)
			}
		}
		if heard := len(tokens) > 0 && tokens[0] == "Bearer secret-of-mine"; heard != c.heard || len(tokens) > 1 {
			t.Errorf("%s: the token was shown: %q", c.name, tokens)
		}
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if f, text := statusOf(t, "--hub", strings.Replace(plain.URL, "http", "https", 1)); f == nil || f.code != exitUnreachable {
		t.Errorf("without TLS: %s", text)
	}
}

func TestFlagsThatDoNotGoTogether(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		flags []string
		say   string
	}{
		{[]string{"--hub", "https://h:1", "--data", dir}, "exclude each other"},
		{[]string{"--data", dir}, "--token without --hub"},
		{[]string{"--hub", "hub.example.org:8440"}, "want the console's address"},
		{[]string{"--hub", "https://h:1", "--ca", filepath.Join(dir, "none")}, "console-tls/cert.pem"},
		{[]string{"--hub", "https://h:1", "--ca", os.Args[0]}, "no certificate"},
		{[]string{"--hub", "https://h:1", "--pin", "xyz"}, "64 hexadecimal digits"},
		{[]string{"--hub", "https://h:1", "--token", "-"}, "no token for the hub"},
	} {
		if f, text := statusOf(t, c.flags...); f == nil || f.code != exitUsage || !strings.Contains(text, c.say) {
			t.Errorf("%q: %s", c.flags, text)
		}
	}
	t.Setenv(envHub, "http://h:1")
	if f, text := statusOf(t); f == nil || f.code != exitUsage || !strings.Contains(text, "https://hub.example.com:8440") {
		t.Errorf("the environment names a hub: %s", text)
	}
	if f, text := statusOf(t, "--data", dir); f == nil || !strings.Contains(text, "--token without --hub") {
		t.Errorf("--data counts before the environment: %s", text)
	}
}

// Flags are read once for a line of verbs, and keep what they were for the verb.
func TestWhereTheHubIs(t *testing.T) {
	o := &officeFlags{}
	c := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }}
	o.bindEither(c)
	if at, err := o.where(c); at != "" || err != nil {
		t.Errorf("%q %v", at, err)
	}
	t.Setenv(envHub, "https://h:1")
	if at, err := o.where(c); at != "https://h:1" || err != nil {
		t.Errorf("%q %v", at, err)
	}
	o.address = "https://other:1"
	if at, err := o.where(c); at != "https://other:1" || err != nil {
		t.Errorf("%q %v", at, err)
	}
}

func TestPagesEndWhereThereIsEnough(t *testing.T) {
	var asked []string
	ask := func(most int) func(*pb.Page) (string, bool, error) {
		asked = nil
		return func(p *pb.Page) (string, bool, error) {
			asked = append(asked, p.GetPageToken())
			if len(asked) == 3 {
				return "", false, nil
			}
			return fmt.Sprint(len(asked)), len(asked) == most, nil
		}
	}
	if err := pages(ask(0)); err != nil || strings.Join(asked, ",") != ",1,2" {
		t.Errorf("%q %v", asked, err)
	}
	if err := pages(ask(2)); err != nil || strings.Join(asked, ",") != ",1" {
		t.Errorf("%q %v", asked, err)
	}
	broken := errors.New("broken")
	if err := pages(func(*pb.Page) (string, bool, error) { return "1", false, broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}
