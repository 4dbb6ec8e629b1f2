package api

import (
	"context"
	"io"
	"net/http"
	"sync"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/internal/api/pb/pbconnect"
	"github.com/tidemark-sync/tidemark/internal/people"
)

// Clients are the admin API as its callers see it, here or across a network.
type Clients struct {
	Entrance   pbconnect.EntranceClient
	People     pbconnect.PeopleClient
	Fleet      pbconnect.FleetClient
	Conflicts  pbconnect.ConflictsClient
	Quarantine pbconnect.QuarantineClient
	Data       pbconnect.DataClient
}

func newClients(h connect.HTTPClient, base string, options ...connect.ClientOption) *Clients {
	return &Clients{
		Entrance:   pbconnect.NewEntranceClient(h, base, options...),
		People:     pbconnect.NewPeopleClient(h, base, options...),
		Fleet:      pbconnect.NewFleetClient(h, base, options...),
		Conflicts:  pbconnect.NewConflictsClient(h, base, options...),
		Quarantine: pbconnect.NewQuarantineClient(h, base, options...),
		Data:       pbconnect.NewDataClient(h, base, options...),
	}
}

// Machine is how the audit calls who works at the hub's data directory: whoever may
// read it may do everything.
const Machine = "the machine's own user"

// Local is the service without a network, for who works at the data directory.
func (s *Service) Local() *Clients {
	who := &people.Identity{ID: "machine", Name: Machine, Role: people.Admin}
	return newClients(inside{s.mux, who}, "https://here")
}

// inside carries requests to a handler in this process.
type inside struct {
	handler http.Handler
	who     *people.Identity
}

// Do implements connect.HTTPClient. The answer is complete when its body is read to the
// end, or closed.
func (i inside) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), localKey{}, i.who))
	body, w := io.Pipe()
	a := &reply{header: http.Header{}, body: w, begun: make(chan struct{})}
	in := r.Clone(ctx)
	in.RemoteAddr, in.RequestURI = "", r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	go func() {
		defer cancel()
		i.handler.ServeHTTP(a, in)
		a.WriteHeader(http.StatusOK)
		_ = w.Close() // a pipe's never fails
	}()
	select {
	case <-a.begun:
	case <-r.Context().Done():
		cancel()
		_ = body.CloseWithError(r.Context().Err()) // a pipe's never fails
		return nil, r.Context().Err()
	}
	res := &http.Response{StatusCode: a.status, Proto: "HTTP/2.0", ProtoMajor: 2, Header: a.sent, Trailer: http.Header{},
		Body: &ending{body, cancel}, ContentLength: -1, Request: r}
	return res, nil
}

// ending cancels the request when its answer is closed.
type ending struct {
	*io.PipeReader
	cancel func()
}

func (e *ending) Close() error {
	e.cancel()
	return e.PipeReader.Close()
}

// A reply is the handler's end of an answer.
type reply struct {
	header, sent http.Header
	status       int
	body         *io.PipeWriter
	begun        chan struct{}
	once         sync.Once
}

func (a *reply) Header() http.Header { return a.header }

func (a *reply) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *reply) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// Flush implements http.Flusher: a pipe keeps nothing back.
func (a *reply) Flush() { a.WriteHeader(http.StatusOK) }
