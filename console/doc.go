// Package console carries the web console: the page on which a person sees every
// device, and mends what is stuck.
//
// The page is TypeScript (src/), built by Vite into dist/ and embedded from there;
// `make build` does both, and `-tags noconsole` leaves it out. It talks to the hub by
// the admin contract alone (proto/tidemark/admin/v1): all that it does, the command
// line does too. It asks nothing of any other host, runs no inline script, and takes
// the nonce of its styles from index.html, where the server put it.
package console

// Nonce is what index.html has where the nonce of each answer's own policy goes.
const Nonce = "__NONCE__"
