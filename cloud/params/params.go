// Package params keeps a copy of the parameters below one path of AWS Systems Manager Parameter Store: asked for again
// and again, told on when they change, and kept on the disk for a start without a network. What they mean is not its
// business.
package params

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"
)

// The types of parameters, as the service calls them.
const (
	TypeString = "String"
	TypeList   = "StringList" // values are separated by commas
	TypeSecret = "SecureString"
)

const (
	// minEvery keeps a fleet below the service's limits, which it shares with everybody else in the account.
	minEvery = 30 * time.Second
	// spread is the part of the interval that is left to chance on either side: devices that started together drift apart.
	spread = 0.2
	// firstPause is the pause after the first failure; it doubles up to the interval.
	firstPause = 5 * time.Second
	// calmer is how much longer than the interval the pauses may become while the service asks for fewer requests.
	calmer = 4
	// pollTimeout bounds all pages together: on a bad line each may take seconds.
	pollTimeout = 3 * time.Minute
)

// Parameter is one parameter. Printing it does not show its value.
type Parameter struct {
	Name  string `json:"name"` // in full: /gnomon/fleet/log/level
	Type  string `json:"type"`
	Value string `json:"value"`
}

// Secret reports whether the value may be shown to nobody.
func (p Parameter) Secret() bool { return p.Type == TypeSecret }

// String is the name, so that no value gets into a log by accident.
func (p Parameter) String() string { return p.Name }

// GoString is String.
func (p Parameter) GoString() string { return p.Name }

// Options configures New.
type Options struct {
	// Path is what the names begin with, such as /gnomon/fleet. The device's role needs ssm:GetParametersByPath on it, and
	// kms:Decrypt if a parameter is a SecureString under a key of the account's own.
	Path string
	// Every is the time between two looks, at least 30 s; a fifth of it is left to chance.
	Every time.Duration
	// File is where the last values are kept, those of SecureStrings too: in the clear, readable for the owner only, in a
	// folder that exists. Empty: nowhere.
	File string
	// Region and Credentials are those of the device. Endpoint is another place than AWS's, such as devcloud's.
	Region, Endpoint string
	Credentials      aws.CredentialsProvider
	Client           *http.Client // nil: http.DefaultClient
	// OnChange gets all parameters, sorted by name, whenever they are others than in the call before; first those of the
	// file, if there is one. Calls come from Run's goroutine, one at a time. The receiver owns the slice.
	OnChange func([]Parameter)
	Log      *zap.Logger // nil: no logging; values are never logged

	pause time.Duration // 0: firstPause
}

// Stats counts what happened since New.
type Stats struct {
	Polls, Failures, Changes uint64
	Known                    int       // parameters
	LastSuccess              time.Time // zero: never yet
	LastError                string    // of the last poll; empty after a success
}

// Poller asks Parameter Store. Make it with New, then call Run; it owns nothing before and after.
type Poller struct {
	o      Options
	url    string
	client *http.Client
	log    *zap.Logger
	ran    atomic.Bool

	values []Parameter // Run's own
	known  bool

	mu    sync.Mutex
	stats Stats
}

// New checks the options and asks nobody yet.
func New(o Options) (*Poller, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	if o.pause == 0 {
		o.pause = firstPause
	}
	form := regexp.MustCompile(`^(/[A-Za-z0-9_.-]+)+$`)
	switch {
	case !form.MatchString(o.Path) || len(o.Path) > maxName:
		return nil, fmt.Errorf("parameters: the path %.80q is none; write one such as /gnomon/fleet", o.Path)
	case o.Every < minEvery:
		return nil, fmt.Errorf("parameters: every %v is too often; the account has one limit for all devices: write %v or more", o.Every, minEvery)
	case o.Credentials == nil:
		return nil, errors.New("parameters: there are no AWS credentials; configure the credential provider of this device")
	case o.OnChange == nil:
		return nil, errors.New("parameters: OnChange is missing")
	}
	to, err := endpoint(o)
	if err != nil {
		return nil, err
	}
	client := *o.Client
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // the service has none, and the signature is not for others
	}
	return &Poller{o: o, url: to, client: &client, log: o.Log}, nil
}

// endpoint follows the rules of the AWS SDK for the service.
func endpoint(o Options) (string, error) {
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return "", errors.New("parameters: the endpoint must be https://HOST:PORT")
		}
		return "https://" + u.Host + "/", nil
	}
	if !regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`).MatchString(o.Region) {
		return "", fmt.Errorf("parameters: the region %.40q is none; write one such as eu-central-1", o.Region)
	}
	suffix := "amazonaws.com"
	switch {
	case strings.HasPrefix(o.Region, "cn-"):
		suffix = "amazonaws.com.cn"
	case strings.HasPrefix(o.Region, "eusc-"):
		suffix = "amazonaws.eu"
	}
	return "https://ssm." + o.Region + "." + suffix + "/", nil
}

// Run asks at once and then from time to time, until ctx ends. After a failure the last values stay. Call it once.
func (p *Poller) Run(ctx context.Context) error {
	if p.ran.Swap(true) {
		return errors.New("parameters: Run was called before; make a new Poller")
	}
	p.resume()
	failures := 0
	for ctx.Err() == nil {
		wait := about(p.o.Every)
		if err := p.poll(ctx); err != nil {
			wait = p.backoff(failures, err)
			failures++
		} else {
			failures = 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// Stats is a copy of the counters; any goroutine may ask.
func (p *Poller) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// about is the interval, more or less.
func about(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - spread + 2*spread*rand.Float64()))
}

// backoff doubles with each failure; half of it is left to chance.
func (p *Poller) backoff(failures int, err error) time.Duration {
	most := p.o.Every
	if codeOf(err) == CodeThrottled {
		most *= calmer
	}
	pause := p.o.pause
	for range failures {
		if pause *= 2; pause >= most {
			break
		}
	}
	pause = min(pause, most)
	return pause/2 + rand.N(pause/2+1)
}

// poll gets all parameters and hands them on.
func (p *Poller) poll(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	values, err := p.all(limited)
	if ctx.Err() != nil {
		return nil // what fails while it is being stopped is no failure
	}
	p.mu.Lock()
	p.stats.Polls++
	before := p.stats.LastError
	if err != nil {
		p.stats.Failures++
		p.stats.LastError = err.Error()
	} else {
		p.stats.LastSuccess, p.stats.LastError = time.Now(), ""
	}
	p.mu.Unlock()
	switch {
	case err == nil:
		if before != "" {
			p.log.Info("the parameters can be read again")
		}
		p.take(values, true)
	case err.Error() == before: // said already
		p.log.Debug("the parameters still cannot be read", zap.Error(err))
	default:
		p.log.Warn("the parameters cannot be read; the last ones stay", zap.String("path", p.o.Path), zap.Error(err))
	}
	return err
}

// take hands values on if they are new, after they are safe on the disk.
func (p *Poller) take(values []Parameter, save bool) {
	if p.known && slices.Equal(p.values, values) {
		return
	}
	p.values, p.known = values, true
	if save && p.o.File != "" {
		if err := p.save(); err != nil {
			p.log.Warn("the parameters are in use, but a start without a network will not know them", zap.Error(err))
		}
	}
	p.mu.Lock()
	p.stats.Changes++
	p.stats.Known = len(values)
	p.mu.Unlock()
	p.o.OnChange(slices.Clone(values))
}
