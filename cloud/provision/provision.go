package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"gnomon/cloud/keypair"
)

const (
	// The pauses between attempts double from the first to the last, with jitter: devices of one factory line are
	// switched on together.
	firstPause = time.Second
	lastPause  = time.Minute
	// settleTime is how long a new certificate may be refused: what is attached to it takes some seconds to get around.
	settleTime = 30 * time.Second

	// maxParameter and maxParameters are far above what templates take.
	maxParameter  = 1024
	maxParameters = 50
)

// Options configures Run.
type Options struct {
	// Dir has the key, the certificate and the state; it is made with mode 0700.
	Dir string
	// Endpoint is where this is about, for the state: a certificate of one account is of no use in another.
	Endpoint string
	// Template is the provisioning template's name, Parameters what it takes.
	Template   string
	Parameters map[string]string
	// Claim connects with the claim certificate, uses the connection and ends it. It returns the use's error, or its own.
	Claim func(ctx context.Context, use func(context.Context, Conn) error) error
	// Check connects with the device's own certificate as the thing.
	Check func(ctx context.Context, thing string, files keypair.Files) error
	// Say is told about what happens, in sentences; nil: nobody is.
	Say func(format string, args ...any)
	// Force begins anew although the device has an identity: with another key and certificate. The old files stay as
	// *.old.
	Force bool

	now   func() time.Time
	pause func(ctx context.Context, d time.Duration) error
	done  func(step string) error // called after each step; an error ends Run as a crash would. For tests
}

// Result is what Run has reached.
type Result struct {
	Device
	Files   keypair.Files
	Already bool // the device had its identity before
}

func (o *Options) normalise() error {
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.pause == nil {
		o.pause = pause
	}
	if o.done == nil {
		o.done = func(string) error { return nil }
	}
	if !regexp.MustCompile(`^[0-9A-Za-z_-]{1,36}$`).MatchString(o.Template) { // looked at once in the life of a process
		return fmt.Errorf("the template %.40q is not a name: write 1 to 36 letters, digits, _ and -", o.Template)
	}
	if len(o.Parameters) > maxParameters {
		return fmt.Errorf("there are %d parameters; a template takes %d at most", len(o.Parameters), maxParameters)
	}
	for name, v := range o.Parameters {
		if name == "" || len(name)+len(v) > maxParameter {
			return fmt.Errorf("the parameter %.40q has no name or more than %d bytes", name, maxParameter)
		}
	}
	return nil
}

// Run gives the device its identity, and goes on where an earlier run has ended: the key, the certificate that was
// ordered, the registration and the trial are each kept on disk when they are done. What may pass by itself is tried
// again until ctx ends. A device that has its identity, and whose certificate works, keeps it.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.normalise(); err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	f := folder{o.Dir}
	unlock, err := f.lock()
	if err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	defer unlock()
	r := &run{Options: o, folder: f}
	result, err := r.all(ctx)
	if err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	return result, nil
}

type run struct {
	Options
	folder
	state *state
	fresh bool // the identity was made by this run
}

func (r *run) all(ctx context.Context) (*Result, error) {
	if r.Force {
		if err := r.setAside(); err != nil {
			return nil, err
		}
	}
	var err error
	if r.state, err = r.read(); err != nil {
		return nil, err
	}
	s := r.state
	if s.Device != nil && (s.Endpoint != r.Endpoint || s.Template != r.Template) {
		return nil, fmt.Errorf("this device is the thing %s already, at %s by the template %s; with --force it gets another identity",
			s.Device.Thing, s.Endpoint, s.Template)
	}
	if s.Endpoint != r.Endpoint || s.Template != r.Template { // what was begun is of no use here
		*s = state{Endpoint: r.Endpoint, Template: r.Template}
	}
	if s.Device == nil {
		if _, err := os.Stat(Files(r.dir).CertFile); err == nil {
			return nil, fmt.Errorf("there is a certificate in %s that this command has not made: name another folder with --dir, "+
				"or get a new identity with --force, which keeps it as device.pem.old", r.dir)
		}
		if err := r.obtain(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.install(); err != nil {
		return nil, err
	}
	if err := r.try(ctx); err != nil {
		return nil, err
	}
	device := *s.Device
	return &Result{Device: device, Files: Files(r.dir), Already: !r.fresh}, nil
}

// setAside forgets the identity and keeps its files.
func (r *run) setAside() error {
	files := Files(r.dir)
	for _, path := range []string{files.CertFile, files.KeyFile} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := keypair.Rename(path, path+".old"); err != nil {
			return err
		}
	}
	return r.write(&state{Endpoint: r.Endpoint, Template: r.Template})
}

// obtain gets a certificate and a name. It goes on with what an earlier attempt has left.
func (r *run) obtain(ctx context.Context) error {
	key, err := r.key()
	if err == nil {
		err = r.done("key")
	}
	if err != nil {
		return err
	}
	r.fresh = true
	return r.retry(ctx, func(ctx context.Context) error {
		return r.Claim(ctx, func(ctx context.Context, c Conn) error {
			if err := r.order(ctx, c, key); err != nil {
				return err
			}
			return r.register(ctx, c)
		})
	})
}

// order has a certificate made, unless there is one that waits to be claimed.
func (r *run) order(ctx context.Context, c Conn, key []byte) error {
	s := r.state
	if s.Issued != nil && s.Until != nil && r.now().Before(*s.Until) {
		return nil
	}
	csr, err := keypair.Request(key, "gnomon") // AWS IoT makes nothing of the subject: the thing's name is not known yet
	if err != nil {
		return err
	}
	r.Say("asking for a certificate")
	issued, err := Request(ctx, c, csr)
	if err != nil {
		return err
	}
	leaf, err := keypair.Belongs([]byte(issued.PEM), key)
	if err != nil {
		return err
	}
	if err := keypair.InTime("the new certificate", leaf, r.now()); err != nil {
		return err
	}
	until := r.now().Add(tokenLife)
	s.Issued, s.Until = &issued, &until
	if err := r.write(s); err != nil {
		return err
	}
	return r.done("order")
}

func (r *run) register(ctx context.Context, c Conn) error {
	s := r.state
	r.Say("provisioning with the template %s", r.Template)
	earlier := slices.Clone(s.Spent)
	if !slices.Contains(s.Spent, s.Issued.ID) {
		s.Spent = append(s.Spent[max(0, len(s.Spent)+1-maxSpent):], s.Issued.ID)
		if err := r.write(s); err != nil {
			return err
		}
	}
	got, err := Register(ctx, c, r.Template, s.Issued.Token, r.Parameters)
	if rejection, ok := errors.AsType[*RejectedError](err); ok {
		return errors.Join(r.refused(rejection, err, earlier), r.write(s))
	}
	if err != nil {
		return err
	}
	if err := r.done("register"); err != nil {
		return err
	}
	s.Device = &Device{Thing: got.Thing, CertificateID: s.Issued.ID, Configuration: got.Configuration, PEM: s.Issued.PEM}
	s.Issued, s.Until, s.Spent = nil, nil, nil
	if err := r.write(s); err != nil {
		return err
	}
	return r.done("state")
}

// refused draws the conclusions of a refusal. earlier are the certificates that the thing may have.
func (r *run) refused(rejection *RejectedError, err error, earlier []string) error {
	s := r.state
	switch {
	case rejection.badToken():
		// Its time was over, or an earlier run has used it and did not hear the answer. The template makes the same
		// thing again, as it is named by the same parameters, so that only a certificate is wasted.
		s.Issued, s.Until = nil, nil
		return &againError{err}
	case rejection.Status == http.StatusForbidden && len(earlier) > 0:
		return fmt.Errorf("%w; an earlier run may have made the thing without hearing of it: in AWS IoT, detach and delete the "+
			"certificate %s, and run this again", err, strings.Join(earlier, " or "))
	case !rejection.Temporary():
		s.Spent = earlier
	}
	return err
}

// againError is a failure after which everything is begun anew.
type againError struct{ error }

func (e *againError) Unwrap() error { return e.error }

// Temporary reports that it is worth another try.
func (*againError) Temporary() bool { return true }

// install puts the certificate into its file.
func (r *run) install() error {
	s := r.state
	if s.Device.PEM == "" {
		return nil
	}
	if err := keypair.Replace(Files(r.dir).CertFile, []byte(s.Device.PEM)); err != nil {
		return err
	}
	if err := r.done("install"); err != nil {
		return err
	}
	s.Device.PEM = ""
	return r.write(s)
}

// try connects as the thing.
func (r *run) try(ctx context.Context) error {
	thing, files := r.state.Device.Thing, Files(r.dir)
	if _, err := keypair.Load(files, r.now()); err != nil {
		if !errors.Is(err, keypair.ErrLoose) {
			err = fmt.Errorf("%w; with --force it gets another identity", err)
		}
		return fmt.Errorf("this device is the thing %s: %w", thing, err)
	}
	r.Say("connecting as %s", thing)
	patience := r.now().Add(settleTime)
	return r.retry(ctx, func(ctx context.Context) error {
		err := r.Check(ctx, thing, files)
		if err == nil {
			return r.done("try")
		}
		if r.fresh && !temporary(err) && r.now().Before(patience) {
			return &againError{err}
		}
		if !temporary(err) && !r.fresh {
			err = fmt.Errorf("this device is the thing %s already, but its certificate is of no use any more: %w; activate it "+
				"in AWS IoT, or get another one with --force", thing, err)
		}
		return err
	})
}

// temporary reports whether an error may pass by itself.
func temporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

// retry tries until it works, ctx ends, or somebody has to change something.
func (r *run) retry(ctx context.Context, attempt func(context.Context) error) error {
	for wait := firstPause; ; wait = min(2*wait, lastPause) {
		err := attempt(ctx)
		if err == nil || !temporary(err) {
			return err
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w; nothing is lost: run the command again", err)
		}
		d := wait/2 + rand.N(wait/2) //nolint:gosec // spreads load, keeps no secret
		r.Say("%v; next try in %v", err, d.Round(time.Second/10))
		if r.pause(ctx, d) != nil {
			return fmt.Errorf("the time is up: %w; nothing is lost: run the command again", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
