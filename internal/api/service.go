package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/tidemark-sync/tidemark/change"
	"github.com/tidemark-sync/tidemark/internal/api/pb/pbconnect"
	"github.com/tidemark-sync/tidemark/internal/clock"
	"github.com/tidemark-sync/tidemark/internal/hub"
	"github.com/tidemark-sync/tidemark/internal/people"
	"github.com/tidemark-sync/tidemark/internal/rule"
)

// A Serving is what the process around the hub knows. Its methods may be called
// concurrently.
type Serving interface {
	// Token is what a device joins with, once, given the secret of its invitation.
	Token(secret, name string) (string, error)
	// TokenTTL is how long one is good when nobody says otherwise.
	TokenTTL() time.Duration
	Load() Load
	// Count estimates how many rows of each table are in some scopes.
	Count(ctx context.Context, scopes []rule.ScopeID) (map[string]int64, error)
}

// A Load is what a process that serves has to do.
type Load struct {
	Sessions int       // with devices
	Waiting  int       // requests
	Replicas []Replica // that parts of bootstraps are read from
}

// A Replica is how one of them fares.
type Replica struct {
	Address string `json:"address"` // nothing secret in it
	Reads   int64  `json:"reads"`   // parts of bootstraps
	Fault   string `json:"fault,omitempty"`
}

// Config is what a Service needs.
type Config struct {
	Hub     *hub.Hub     // required
	People  *people.Book // required
	Serving Serving      // required
	Clock   clock.Clock  // required
	Logger  *slog.Logger // nil: silent
	Name    string       // the hub's, for people
	Version string       // of the build
	// URL is how people reach the console, for links and passkeys. "" means
	// https://localhost.
	URL string
}

// A Service is the admin API of one hub. All methods may be called concurrently.
type Service struct {
	cfg     Config
	log     *slog.Logger
	methods map[string]method // by procedure
	gates   gates
	fleet   fleetCache
	past    unsafePast
	news    *news
	mux     *http.ServeMux
}

// The bounds of requests.
const (
	maxEntrance = 64 << 10 // bytes: who asks is not known yet
	maxRequest  = 8 << 20  // bytes
	callTime    = 2 * time.Minute
)

// New makes a service. Handler serves it over HTTP, Local without.
func New(cfg Config) (*Service, error) {
	if cfg.Hub == nil || cfg.People == nil || cfg.Serving == nil || cfg.Clock == nil {
		return nil, errors.New("api: a hub, people, what serves it, and a clock are required")
	}
	s := &Service{cfg: cfg, log: cfg.Logger, methods: methodTable(), gates: newGates(cfg.Clock), news: newNews(), mux: http.NewServeMux()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.URL == "" {
		s.cfg.URL = "https://localhost"
	}
	if s.cfg.Version == "" {
		s.cfg.Version = "devel"
	}
	options := connect.WithHandlerOptions(
		connect.WithInterceptors(&guard{s}),
		connect.WithRecover(s.recovered),
		connect.WithReadMaxBytes(maxRequest),
		connect.WithCompressMinBytes(1<<10),
	)
	s.mux.Handle(pbconnect.NewEntranceHandler(entrance{s}, options, connect.WithReadMaxBytes(maxEntrance)))
	s.mux.Handle(pbconnect.NewPeopleHandler(staff{s}, options))
	s.mux.Handle(pbconnect.NewFleetHandler(fleet{s}, options))
	s.mux.Handle(pbconnect.NewConflictsHandler(conflicts{s}, options))
	s.mux.Handle(pbconnect.NewQuarantineHandler(quarantine{s}, options))
	s.mux.Handle(pbconnect.NewDataHandler(data{s}, options))
	return s, nil
}

// recovered makes a panic the caller's error, and the log's.
func (s *Service) recovered(_ context.Context, spec connect.Spec, _ http.Header, what any) error {
	s.log.Error("a method panicked", "method", spec.Procedure, "panic", what)
	return fault(connect.CodeInternal, "panic", "something went wrong at the hub", "the hub's log says more")
}

// deviceOf finds a device by id, or by a name that only one has.
func (s *Service) deviceOf(ctx context.Context, text string) (change.DeviceID, error) {
	if id, err := change.ParseDeviceID(text); err == nil {
		return id, nil
	}
	v, err := s.look(ctx)
	if err != nil {
		return change.DeviceID{}, err
	}
	var found []change.DeviceID
	for i := range v.devices {
		if v.devices[i].Name == text {
			found = append(found, v.devices[i].ID)
		}
	}
	if len(found) == 0 {
		found = v.byStart(text)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return change.DeviceID{}, noDevice(text)
	}
	return change.DeviceID{}, several(len(found), text)
}
