package sts

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultLife is how long credentials are valid; AWS takes from minLife to maxLife (AWS IoT Core developer guide,
	// "Authorizing direct calls to AWS services").
	DefaultLife = time.Hour
	minLife     = 900 * time.Second
	maxLife     = 43200 * time.Second

	// RolesPath is what the provider's paths begin with: /role-aliases/{alias}/credentials.
	RolesPath = "/role-aliases/"

	thingHeader = "X-Amzn-Iot-Thingname"
)

// The messages are AWS's.
const (
	badCertificate = "Certificate is invalid on this endpoint"
	badThing       = "Invalid thing name passed"
	badPolicy      = "Access Denied"
	badAlias       = "Role alias does not exist"
	badDuration    = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role"
)

// ProviderOptions configures a Provider.
type ProviderOptions struct {
	Keys *Keys
	// Aliases are the role aliases that exist.
	Aliases []string
	// Life is how long credentials are valid, within AWS's limits or requests are answered with 400; 0: DefaultLife.
	Life time.Duration
	// Identify returns the thing of a client's certificate; an error refuses it.
	Identify func(*tls.ConnectionState) (thing string, err error)
	// Allows is the policy's answer on whether a thing may take the role of an alias.
	Allows func(thing, alias string) bool
}

// Provider is AWS IoT's credential provider: an http.Handler, for concurrent use.
type Provider struct {
	opts ProviderOptions

	mu      sync.Mutex
	status  int
	message string
}

// NewProvider makes a provider.
func NewProvider(opts ProviderOptions) *Provider {
	if opts.Life == 0 {
		opts.Life = DefaultLife
	}
	return &Provider{opts: opts}
}

// Fail makes every further request fail with a status and a message, for tests of clients; status 0 ends that.
func (p *Provider) Fail(status int, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.message = status, message
}

func (p *Provider) failure() (int, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status, p.message
}

// ServeHTTP answers GET /role-aliases/{alias}/credentials.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	alias, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, RolesPath), "/credentials")
	thing, identityErr := p.opts.Identify(r.TLS)
	status, message := p.failure()
	switch {
	case status != 0:
		answer(w, status, map[string]string{"message": message})
	case !ok || strings.Contains(alias, "/"):
		refuse(w, http.StatusNotFound, "Not Found")
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "Method Not Allowed")
	case identityErr != nil:
		refuse(w, http.StatusForbidden, badCertificate)
	case r.Header.Get(thingHeader) != thing:
		refuse(w, http.StatusForbidden, badThing)
	case !slices.Contains(p.opts.Aliases, alias):
		refuse(w, http.StatusNotFound, badAlias)
	case !p.opts.Allows(thing, alias):
		refuse(w, http.StatusForbidden, badPolicy)
	case p.opts.Life < minLife || p.opts.Life > maxLife:
		refuse(w, http.StatusBadRequest, badDuration)
	default:
		credentials, err := p.opts.Keys.Issue(thing, p.opts.Life)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "Internal Server Error")
			return
		}
		answer(w, http.StatusOK, map[string]Credentials{"credentials": credentials})
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"message": message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}
