package artifact

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// The defaults of [Limits].
const (
	defaultMaxBytes = 2 << 30 // the largest detectors have 500 MB
	defaultTimeout  = 6 * time.Hour
	defaultStall    = time.Minute // a mobile network that changes cells is silent for up to 30 s
	defaultKeepFree = 256 << 20   // what logs and the spool need until somebody looks at the device
)

// Options are the settings of a Fetcher. The zero value fetches https references and from registries without a login.
type Options struct {
	Policy Policy

	// AWS reaches S3 and ECR: Region and Credentials are needed for that, HTTPClient may be nil, and BaseEndpoint, if
	// set, serves both, with the bucket in the path. The address guard does not apply to AWS's own endpoints.
	AWS aws.Config

	// RootCAs are trusted for https references and registries; nil: the system's. There is no http.Client to give,
	// because the address guard needs a dialer of its own. A proxy of the environment is used.
	RootCAs *x509.CertPool

	// DockerConfig is the path of a Docker credential file with logins under "auths". It is read anew whenever a
	// registry asks for a login. Credential helpers are not run. Empty: no login; ~/.docker is never looked at, as it
	// belongs to a person and not to an agent.
	DockerConfig string

	// ECRHosts are registries, host[:port], beside the real ones of ECR, that take a token of ECR's
	// GetAuthorizationToken. Every one of them sees that token.
	ECRHosts []string

	// AllowPrivate lets https references, registries and their redirects lead to private, loopback, link-local and
	// other addresses that are not public. A registry without TLS is refused in any case.
	AllowPrivate bool

	Limits Limits
	Log    *zap.Logger // receives what is tried again; nil: nothing. Errors are returned and not logged.
}

// Limits bound a download. Zero values stand for the defaults given here.
type Limits struct {
	MaxBytes int64         // of all files of a model; 2 GiB
	Rate     int64         // bytes per second of all downloads together; 0: no limit
	Timeout  time.Duration // for a whole Fetch; 6 h
	Stall    time.Duration // without a byte, after which a connection is given up and made again; 60 s
	KeepFree int64         // bytes that stay free on the disk; 256 MiB
}

func (l Limits) withDefaults() (Limits, error) {
	if l.MaxBytes < 0 || l.Rate < 0 || l.Timeout < 0 || l.Stall < 0 || l.KeepFree < 0 {
		return l, fmt.Errorf("a limit of the model downloads is negative: %+v; write 0 for the default", l)
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = defaultMaxBytes
	}
	if l.Timeout == 0 {
		l.Timeout = defaultTimeout
	}
	if l.Stall == 0 {
		l.Stall = defaultStall
	}
	if l.KeepFree == 0 {
		l.KeepFree = defaultKeepFree
	}
	return l, nil
}

// Fetcher downloads models. Its methods may be called concurrently. Make one with [New]; the caller closes it.
type Fetcher struct {
	opts    Options
	log     *zap.Logger
	guarded *http.Client // for what references from outside name
	logins  auth.Cache   // of registries that are not ECR
	ecr     *ecrTokens
	limiter *rate.Limiter // nil: no limit
	pause   time.Duration // before the second attempt; doubles
}

// New checks the options. It connects to nobody and starts no goroutine.
func New(o Options) (*Fetcher, error) {
	if err := o.Policy.Check(); err != nil {
		return nil, fmt.Errorf("model downloads: %w", err)
	}
	limits, err := o.Limits.withDefaults()
	if err != nil {
		return nil, err
	}
	o.Limits = limits
	registry := newGrammar().registry
	for _, host := range o.ECRHosts {
		if !registry.MatchString(host) {
			return nil, fmt.Errorf("model downloads: %.70q is not a registry; write host[:port] in lower case", host)
		}
	}
	f := &Fetcher{
		opts: o, log: o.Log, guarded: newGuardedClient(o.RootCAs, o.AllowPrivate), logins: auth.NewCache(),
		ecr: newECRTokens(o.AWS), pause: firstPause,
	}
	if f.log == nil {
		f.log = zap.NewNop()
	}
	if limits.Rate > 0 {
		f.limiter = rate.NewLimiter(rate.Limit(limits.Rate), int(min(limits.Rate, bufferSize)))
	}
	return f, nil
}

// Close closes idle connections. A Fetch that runs is not disturbed. It may be called more than once.
func (f *Fetcher) Close() { f.guarded.CloseIdleConnections() }
