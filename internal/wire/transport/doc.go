// Package transport carries wire sessions over TLS.
//
// A session is one bidirectional Connect stream over HTTP/2 over TLS 1.3. Both
// ends have self-signed certificates: the edge pins the hub's public key, which
// came with the join token, and the hub knows each device by the public key that
// it registered when it joined. Nobody else's word counts, so there is no
// certificate authority to run, and an expired date locks nobody out.
//
// A caller whose key is not registered sees GET /healthz and otherwise 404, the
// join call included unless it brings a secret that the hub gave out.
//
// Serve is the one loop that drives a wire.Peer: it reads frames, steps the peer,
// and beats the heart both ways. The hub's handler and the client's Dial both use
// it, and it never runs two steps of one peer at once.
package transport
