package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The page that an agent serves to its own machine, in a real browser, beside a real
// agent whose line to the hub is cut, whose work is refused, and whose device is revoked.
func TestEdgePage_Story(t *testing.T) {
	chromium := needPage(t)
	c := newClinic(t)
	short, err := os.MkdirTemp("", "clinic") // the page shows where the file is, and the guide shows the page
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	c.dir = short
	c.carry(order{Do: "enrol", At: "oslo"})
	c.join("berlin", mustJSON[struct {
		Token string `json:"token"`
	}](t, "device", "add", "berlin", "--data", c.data, "--scope", "all", "--url", "https://"+c.line.Addr()).Token)
	listen := "127.0.0.1:" + freePort(t)
	serving := func(at string) {
		c.agents[at].kill()
		c.agents[at] = start(t, "", "edge", c.file(at), "--page", listen)
	}
	serving("berlin")
	at, orders := office(t)
	shots := os.Getenv(envShots)
	if shots == "" {
		shots = t.TempDir()
	}
	s := stage{URL: "http://" + listen, Office: at, Chromium: chromium, Shots: absolute(t, filepath.Join(shots, "page"))}
	if *screenshots {
		s.Guide = absolute(t, filepath.Join("..", "docs", "guide", "page"))
	}
	eventually(t, 30*time.Second, "the page is there", func() bool {
		r, err := http.Get(s.URL)
		if err == nil {
			_ = r.Body.Close()
		}
		return err == nil
	})
	play(t, "edge.play", 8*time.Minute, s, orders, func(o order) reply {
		switch o.Do {
		case "page":
			serving(o.At)
		case "killAgent":
			c.agents[o.At].kill()
		default:
			return c.carry(o)
		}
		return reply{}
	})
}
