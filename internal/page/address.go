package page

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// Default is an address that people may be told to use.
const Default = "127.0.0.1:8441"

// ErrAddress says that the page may not be served there.
var ErrAddress = errors.New("the page is for this machine alone, so it wants a loopback address, such as " + Default)

// ErrTaken says that another program listens where the page should be.
var ErrTaken = errors.New("another program listens there")

// An address is where the page is served, checked.
type address struct {
	name string // the host as it was given
	at   netip.AddrPort
}

// parseAddress takes HOST:PORT. The host is a loopback address, or a name of nothing
// else: localhost mostly. What it stands for is settled here, so that no later answer
// of a name server moves the page to an open address.
func parseAddress(ctx context.Context, text string) (address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return address{}, fmt.Errorf("serve the page at %q: want HOST:PORT: %w", text, ErrAddress)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return address{}, fmt.Errorf("serve the page at %q: port %q is not a number from 0 to 65535: %w", text, port, ErrAddress)
	}
	if host == "" {
		return address{}, fmt.Errorf("serve the page at %q: without a host it would be open to the whole network: %w", text, ErrAddress)
	}
	ips, err := resolve(ctx, host)
	if err != nil {
		return address{}, fmt.Errorf("serve the page at %q: %w: %w", text, err, ErrAddress)
	}
	out := address{name: host}
	for _, ip := range ips {
		if !ip.IsLoopback() {
			return address{}, fmt.Errorf("serve the page at %q: %s can be reached from other machines: %w", text, ip, ErrAddress)
		}
		if !out.at.IsValid() || ip.Is4() && !out.at.Addr().Is4() { // what browsers and people try first
			out.at = netip.AddrPortFrom(ip, uint16(n))
		}
	}
	return out, nil
}

// resolve is a host's addresses, at least one.
func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap().WithZone("")}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	for i := range ips {
		ips[i] = ips[i].Unmap().WithZone("")
	}
	return ips, nil
}

// listen takes the port. The error wraps ErrTaken when somebody has it.
func (a address) listen() (net.Listener, error) {
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a.at))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("serve the page at %s: %w", a.at, ErrTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("serve the page at %s: %w", a.at, err)
	}
	return ln, nil
}
