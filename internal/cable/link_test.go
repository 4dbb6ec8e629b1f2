package cable

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers each line with the same line, until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func newLink(t *testing.T, target string) *Link {
	t.Helper()
	k, err := New(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func dial(t *testing.T, k *Link) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", k.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// exchange sends a line and reads the answer.
func exchange(c net.Conn, text string) error {
	if _, err := fmt.Fprintln(c, text); err != nil {
		return err
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && got != text+"\n" {
		err = fmt.Errorf("got %q, want %q", got, text)
	}
	return err
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestLinkRelaysBothWaysAndCounts(t *testing.T) {
	k := newLink(t, echo(t))
	c := dial(t, k)
	if err := exchange(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if up, down := k.Bytes(); up != 6 || down != 6 {
		t.Errorf("counted %d up, %d down, want 6 and 6", up, down)
	}
	// The end of one side reaches the other, and what was under way still comes.
	if _, err := io.WriteString(c, "last words"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "last words" {
		t.Errorf("after the end: %q, %v", got, err)
	}
}

func TestCutBreaksConnectionsAndRefusesNewOnes(t *testing.T) {
	k := newLink(t, echo(t))
	a, b := dial(t, k), dial(t, k)
	for _, c := range []net.Conn{a, b} {
		if err := exchange(c, "before"); err != nil {
			t.Fatal(err)
		}
	}
	k.Cut()
	if !k.IsCut() {
		t.Error("IsCut after Cut is false")
	}
	up, down := k.Bytes()
	for i, c := range []net.Conn{a, b} {
		if err := exchange(c, "during"); err == nil || isTimeout(err) {
			t.Errorf("connection %d while cut: %v, want it broken", i, err)
		}
	}
	if c, err := net.Dial("tcp", k.Addr()); err == nil { // it is reset now or in a moment
		defer func() { _ = c.Close() }()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := exchange(c, "during"); err == nil || isTimeout(err) {
			t.Errorf("a new connection while cut: %v, want it broken", err)
		}
	}
	if u, d := k.Bytes(); u != up || d != down {
		t.Errorf("%d bytes came through a cut link", u+d-up-down)
	}

	k.Restore()
	if k.IsCut() {
		t.Error("IsCut after Restore is true")
	}
	if err := exchange(dial(t, k), "after"); err != nil {
		t.Errorf("after Restore: %v", err)
	}
	if err := exchange(a, "again"); err == nil {
		t.Error("a broken connection works again after Restore")
	}
}

func TestLinkToNobodyEndsTheCall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := exchange(dial(t, newLink(t, addr)), "anyone?"); err == nil || isTimeout(err) {
		t.Errorf("without a target: %v, want the connection ended", err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	k := newLink(t, echo(t))
	c := dial(t, k)
	if err := exchange(c, "hello"); err != nil {
		t.Fatal(err)
	}
	k.Close()
	k.Close()
	if err := exchange(c, "more"); err == nil || isTimeout(err) {
		t.Errorf("after Close: %v, want it broken", err)
	}
	if c, err := net.Dial("tcp", k.Addr()); err == nil {
		_ = c.Close()
		t.Error("a closed link still takes calls")
	}
}
