package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/wire"
	"github.com/tidemark-sync/tidemark/internal/wire/pb"
	"github.com/tidemark-sync/tidemark/internal/wire/pb/pbconnect"
)

// envelope is one message of a Connect stream.
func envelope(flags byte, body []byte) []byte {
	b := append([]byte{flags}, binary.BigEndian.AppendUint32(nil, uint32(len(body)))...)
	return append(b, body...)
}

// What is no frame reaches no peer: the device is told, and the session is over.
func TestGarbageOnTheWire(t *testing.T) {
	c := newCore()
	c.session = func(context.Context, change.DeviceID) (wire.Peer, func(context.Context) error, error) {
		return &scripted{receive: func(_ context.Context, m wire.Message, _ emitter) error {
			if p, ok := m.(*wire.Ping); !ok || p.N != 1 {
				t.Errorf("the peer saw %T", m)
			}
			return nil
		}}, nil, nil
	}
	r := newRig(t, c, func(s *ServerConfig) { s.MaxFrame = 1 << 16 })
	key, err := NewKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.set(func(c *core) { c.known[key.Fingerprint()] = change.DeviceID{1} })
	h := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{key.cert}}}}
	t.Cleanup(h.CloseIdleConnections)

	ping, err := wire.Encode(&wire.Ping{N: 1, Status: &wire.EdgeStatus{App: "sqlite"}})
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), ping...)
	flipped[1] ^= 0x40 // the length of the message inside
	for _, test := range []struct {
		name string
		body []byte
		code string // of the fault that comes back; "" for none, "-" for a stream cut off
	}{
		{"a good frame, then the end", envelope(0, ping), ""},
		{"a flipped bit", envelope(0, flipped), "malformed"},
		{"a frame of another build", envelope(0, []byte("\xfa\x07\x00")), "malformed"},
		{"an empty frame", envelope(0, nil), "malformed"},
		{"a frame cut short", envelope(0, ping)[:8], "-"},
		{"an envelope cut short", envelope(0, ping)[:3], "-"},
		{"noise", bytes.Repeat([]byte{0xa5}, 300), "oversized"},
		{"a frame that claims four gigabytes", []byte{0, 0xff, 0xff, 0xff, 0xff, 1}, "oversized"},
		{"a frame that claims to be compressed", envelope(1, []byte{0x1f, 0x8b}), "-"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+r.addr+pbconnect.SyncSessionProcedure, bytes.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/connect+proto")
		res, err := h.Do(req)
		if test.code == "-" {
			if err == nil {
				t.Errorf("%s: answered with %d", test.name, res.StatusCode)
				_ = res.Body.Close()
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		_ = res.Body.Close()
		if got := faultIn(t, b); got != test.code {
			t.Errorf("%s: fault %q, want %q (%q)", test.name, got, test.code, b)
		}
		if strings.Contains(string(b), ".go:") {
			t.Errorf("%s: the answer tells too much: %q", test.name, b)
		}
	}
}

// faultIn is the code of the first fault in a stream's bytes.
func faultIn(t *testing.T, b []byte) string {
	t.Helper()
	for len(b) >= 5 {
		n := int(binary.BigEndian.Uint32(b[1:]))
		if b[0] == 0 {
			var f pb.Frame
			if err := proto.Unmarshal(b[5:5+n], &f); err != nil {
				t.Fatal(err)
			}
			return f.GetFault().GetCode()
		}
		b = b[5+n:]
	}
	return ""
}
