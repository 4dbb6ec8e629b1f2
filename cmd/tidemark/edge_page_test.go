package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// port NAME: sets NAME to a port of 127.0.0.1 that nobody listens on now.
func cmdPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// take PORT: listens on a port of 127.0.0.1 until the script ends.
func cmdTake(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: take PORT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
}

// get STATUS URL: asks until the answer has the status, for at most 30 seconds; its body
// is there for stdout.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get STATUS URL")
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for range 600 {
		res, err := http.Get(args[1])
		if last = fmt.Sprint(err); err == nil {
			b, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			ts.Check(err)
			if last = res.Status; strconv.Itoa(res.StatusCode) == args[0] {
				_, err := ts.Stdout().Write(b)
				ts.Check(err)
				return
			}
		}
		<-tick.C
	}
	ts.Fatalf("%s never answered %s: %s", args[1], args[0], last)
}
