// Package cloud gets AWS credentials for a device from its X.509 certificate, through the credential provider of AWS
// IoT Core, and makes the HTTP client that AWS services are called with. No key of a user is ever stored on a device.
package cloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"gnomon/cloud/keypair"
)

const (
	// refreshBefore is how long before their expiry credentials are replaced; jitter adds up to a fifth, so that
	// devices that started together don't ask together.
	refreshBefore = 300 * time.Second
	// The pauses after a failure. What a configuration error needs is a person, so it isn't asked about often.
	pauseRefused    = 120 * time.Second
	pauseServer     = 60 * time.Second
	pauseNetwork    = 2 * time.Second // doubles
	pauseNetworkMax = 300 * time.Second
	// requestTimeout bounds one exchange; the answer has about 2 KB.
	requestTimeout = 30 * time.Second
	// maxBody is some 30 times what the service answers.
	maxBody = 64 << 10
	// maxClockOff is how far the device's clock may be from the service's: with more, AWS services refuse signatures.
	maxClockOff = 5 * time.Minute
)

// CredentialsOptions configures Credentials.
type CredentialsOptions struct {
	// Endpoint is the account's credential provider, host[:port] or an https URL: what
	// aws iot describe-endpoint --endpoint-type iot:CredentialProvider prints.
	Endpoint string
	// RoleAlias names the role to take, Thing the device as it is registered.
	RoleAlias, Thing string
	// CertFile and KeyFile are the device's certificate and private key in PEM; the key must be readable for its owner
	// only. CAFile holds PEM certificates that are trusted beside the system's; may be empty.
	CertFile, KeyFile, CAFile string

	Log *zap.Logger // nil: no logging

	now func() time.Time // nil: time.Now
}

// Credentials is an aws.CredentialsProvider for a device. One instance serves the whole process; its methods may be
// called from any goroutine. It owns no goroutine of its own beyond a running request.
type Credentials struct {
	url, thing string
	client     *http.Client
	log        *zap.Logger
	now        func() time.Time

	mu       sync.Mutex
	have     aws.Credentials
	refresh  time.Time // when have is to be replaced
	failure  error     // the last attempt's; nil after a success
	retry    time.Time // when the next attempt may be made after failure
	network  time.Duration
	clockOff time.Duration // of the last answer; beyond maxClockOff it has been logged
	inFlight chan struct{} // closed at the end of the attempt that is under way; nil: none
}

// errUnfit marks what is wrong with the device's own files.
var errUnfit = errors.New("the device's certificate can't be used")

// What AWS IoT takes as the name of a role alias and of a thing.
var (
	aliasName = regexp.MustCompile(`^[A-Za-z0-9_=,@-]{1,128}$`)
	thingName = regexp.MustCompile(`^[A-Za-z0-9:_-]{1,128}$`)
)

// NewCredentials checks the options and reads the files; it asks nobody yet. The certificate must be valid now. The
// certificate and the key are read again for each connection, so that a rotation needs no new Credentials.
func NewCredentials(o CredentialsOptions) (*Credentials, error) {
	c, err := newCredentials(o)
	if err != nil {
		return nil, fmt.Errorf("AWS credentials: %w", err)
	}
	return c, nil
}

func newCredentials(o CredentialsOptions) (*Credentials, error) {
	if o.now == nil {
		o.now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	base, err := endpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if !aliasName.MatchString(o.RoleAlias) {
		return nil, fmt.Errorf("role alias %.130q is not a name: write 1 to 128 letters, digits and - _ = , @", o.RoleAlias)
	}
	if !thingName.MatchString(o.Thing) {
		return nil, fmt.Errorf("thing %.130q is not a name: write 1 to 128 letters, digits and any of - _ :, such as camera-7", o.Thing)
	}
	files := keypair.Files{CertFile: o.CertFile, KeyFile: o.KeyFile}
	pairs, err := keypair.NewSource(files, o.now())
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(o.CAFile)
	if err != nil {
		return nil, err
	}
	transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := pairs.Certificate(o.now())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUnfit, err)
		}
		return pair, nil
	}
	return &Credentials{
		url: base + "/role-aliases/" + url.PathEscape(o.RoleAlias) + "/credentials", thing: o.Thing,
		log: o.Log, now: o.now,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the service has none, and the certificate is not for others
		}},
	}, nil
}

func endpoint(raw string) (string, error) {
	const hint = "write what `aws iot describe-endpoint --endpoint-type iot:CredentialProvider` prints"
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("the credential provider's endpoint is no https host: " + hint)
	}
	return "https://" + u.Host, nil
}

// Retrieve returns valid credentials, from memory or from the service. One request is made at a time and others wait
// for it, until their context ends. While a refresh fails, credentials that are still valid are given; after a failure
// its error, a *CredentialsError, is returned without asking again for a while.
func (c *Credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	for {
		c.mu.Lock()
		now := c.now()
		valid := c.have.HasKeys() && now.Before(c.have.Expires)
		switch {
		case valid && now.Before(c.refresh), valid && c.failure != nil && now.Before(c.retry):
			have := c.have
			c.mu.Unlock()
			return have, nil
		case c.failure != nil && now.Before(c.retry):
			err := c.failure
			c.mu.Unlock()
			return aws.Credentials{}, err
		}
		if c.inFlight == nil {
			c.inFlight = make(chan struct{})
			// Not the caller's context: others wait for this as well.
			go c.attempt(context.WithoutCancel(ctx), c.inFlight)
		}
		wait, have := c.inFlight, c.have
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			if valid {
				return have, nil
			}
			return aws.Credentials{}, fmt.Errorf("wait for AWS credentials: %w", ctx.Err())
		}
	}
}

func (c *Credentials) attempt(ctx context.Context, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	got, err := c.fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight = nil
	now := c.now()
	if err == nil {
		c.have, c.failure, c.network = got, nil, 0
		// Short-lived credentials are kept for half their life at least, or every call would fetch.
		early := min(refreshBefore+jitter(refreshBefore/5), got.Expires.Sub(now)/2)
		c.refresh = got.Expires.Add(-early)
		return
	}
	c.failure = err
	pause := c.pause(err)
	c.retry = now.Add(pause)
	c.log.Warn("no new AWS credentials", zap.Error(err), zap.Duration("next_try_in", pause),
		zap.Bool("old_ones_valid", c.have.HasKeys() && now.Before(c.have.Expires)))
}

// pause is how long a failure is remembered.
func (c *Credentials) pause(err error) time.Duration {
	ce, ok := errors.AsType[*CredentialsError](err)
	switch {
	case ok && ce.Status >= 500:
		return pauseServer + jitter(pauseServer/5)
	case ok && ce.Status != 0:
		return pauseRefused + jitter(pauseRefused/5)
	}
	c.network = min(max(2*c.network, pauseNetwork), pauseNetworkMax)
	return c.network/2 + jitter(c.network/2)
}

// ClockOff is how far the device's clock is ahead of the service's (behind: negative), by its last answer; 0 until there
// is one. The service says whole seconds, and the answer's way is in it.
func (c *Credentials) ClockOff() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clockOff
}

// compareClocks remembers how far the clock is off, says so when that begins, and returns it.
func (c *Credentials) compareClocks(now time.Time, date string) time.Duration {
	server, err := http.ParseTime(date)
	if err != nil {
		return 0
	}
	off := now.Sub(server)
	c.mu.Lock()
	before := c.clockOff
	c.clockOff = off
	c.mu.Unlock()
	if off.Abs() > maxClockOff && before.Abs() <= maxClockOff {
		c.log.Warn("AWS services will refuse what this device signs", zap.String("reason", clockFix(off)))
	}
	return off
}

// jitter is a random time below d.
func jitter(d time.Duration) time.Duration { return rand.N(d) }
