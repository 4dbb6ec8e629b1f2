// Package page is the small page that an agent serves to its own machine: is my work
// safe, what is waiting, what was refused.
//
// It is for the person in the shop, and for the installer who comes when something is
// odd. What it tells comes from run.Look, the functions that `tidemark status` and
// `tidemark queue` read a file with, over a connection that can only read: the page
// stays up while the hub is away, and while an application keeps the file locked it
// shows what it saw last, and says so.
//
// Any program and any user of the machine can reach a loopback address. So the page can
// change nothing (every method but GET and HEAD is refused), and shows no values of
// rows: of a refused transaction the tables, the keys and the reason, as the hub gave it.
// A web site that somebody visits in a browser on the machine can reach it, too, but
// cannot read it: requests under another name than the machine's own (DNS rebinding) or
// on behalf of another site are turned away, and no other origin is ever let in.
//
// The page is rendered here, by html/template, which is what keeps names, reasons and
// keys from being taken for a page. It works without JavaScript; with it, it renews
// itself without a reload. All that it needs is in the binary.
package page
