package rotate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/cloud/keypair"
)

// childEnv is set for the process that TestSIGKILL kills: the folder that it works in.
const childEnv = "GNOMON_ROTATE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, rotateForEver(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// sign stands for AWS IoT.
func sign(_ context.Context, csrPEM []byte) ([]byte, error) {
	block, _ := pem.Decode(csrPEM)
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, Subject: csr.Subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, csr.PublicKey, key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// firstPair makes the first pair.
func firstPair(dir string) (keypair.Files, error) {
	f := keypair.Files{CertFile: filepath.Join(dir, "device.pem"), KeyFile: filepath.Join(dir, "device.key")}
	if isPair(f) {
		return f, nil
	}
	key, err := keypair.NewKey()
	if err != nil {
		return f, err
	}
	csr, err := keypair.Request(key, "cam")
	if err != nil {
		return f, err
	}
	cert, err := sign(context.Background(), csr)
	return f, errors.Join(err, keypair.Replace(f.KeyFile, key), keypair.Replace(f.CertFile, cert))
}

// device is an agent with a pair.
type device struct {
	t        *testing.T
	files    keypair.Files
	opts     Options
	statuses chan Status
	switches atomic.Int32
}

func newDevice(t *testing.T) *device {
	t.Helper()
	f, err := firstPair(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, files: f, statuses: make(chan Status, 100)}
	d.opts = Options{
		Files: f, Thing: "cam", Order: sign, Report: func(s Status) { d.statuses <- s },
		Try:      func(_ context.Context, f keypair.Files) error { _, err := keypair.Load(f, time.Now()); return err },
		Switched: func() { d.switches.Add(1) },
		timing:   timing{first: time.Millisecond, last: 2 * time.Millisecond, settle: time.Millisecond, life: time.Millisecond, patience: time.Hour},
	}
	return d
}

func (d *device) id() string {
	d.t.Helper()
	if !isPair(d.files) {
		d.t.Fatal("certificate and key are no pair")
	}
	leaf, err := keypair.Leaf(d.files.CertFile)
	if err != nil {
		d.t.Fatal(err)
	}
	return keypair.ID(leaf)
}

// run makes a rotation and runs it until it reports a state for the order, or ends by itself.
func (d *device) run(order string, until State) (Status, error) {
	d.t.Helper()
	r, err := New(d.opts)
	if err != nil {
		return Status{}, err
	}
	r.Want(order)
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for {
		select {
		case s := <-d.statuses:
			if s.State == Probation && until != Probation {
				r.Online(true)
			}
			if s.State == until && (s.Rotate == order || until == Probation || until == Trying) {
				cancel()
				return s, <-ended
			}
		case err := <-ended:
			if err == nil {
				err = errors.New("it did not get there in time")
			}
			return r.Status(), err
		}
	}
}

// next is the next status that is reported.
func (d *device) next(ctx context.Context) Status {
	d.t.Helper()
	select {
	case s := <-d.statuses:
		return s
	case <-ctx.Done():
		d.t.Fatal("it did not get there in time")
		return Status{}
	}
}

func (d *device) left() []string {
	entries, err := os.ReadDir(filepath.Dir(d.files.CertFile))
	if err != nil {
		d.t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRotation(t *testing.T) {
	d := newDevice(t)
	old := d.id()
	s, err := d.run("a", Done)
	if err != nil || s.Previous != old || s.ID != d.id() || s.ID == old || s.NotAfter == nil || d.switches.Load() != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	if left := d.left(); len(left) != 3 { // the pair and the record
		t.Errorf("left: %v", left)
	}
	data, err := json.Marshal(s)
	if err != nil || len(data) > 500 {
		t.Errorf("%s, %v", data, err)
	}
	// The same order is not carried out again, another one is.
	r, err := New(d.opts)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Status(); got.Rotate != "a" || got.State != Done {
		t.Errorf("after a restart: %+v", got)
	}
	now := d.id()
	if s, err := d.run("a", Done); err != nil || s.ID != now {
		t.Errorf("again: %+v, %v", s, err)
	}
	if s, err := d.run("b", Done); err != nil || s.ID == now || s.Previous != now {
		t.Errorf("another: %+v, %v", s, err)
	}
}

// refusal is an error that does not pass by itself.
var errRefused = errors.New("the broker refuses the certificate")

func TestFailures(t *testing.T) {
	otherKey := func(ctx context.Context, _ []byte) ([]byte, error) {
		key, _ := keypair.NewKey()
		csr, _ := keypair.Request(key, "cam")
		return sign(ctx, csr)
	}
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"order refused", func(o *Options) { o.Order = func(context.Context, []byte) ([]byte, error) { return nil, errRefused } }, "refuses"},
		{"answers lost", func(o *Options) { o.Order = func(context.Context, []byte) ([]byte, error) { return nil, passing{} } }, "passing"},
		{"no certificate", func(o *Options) { o.Order = func(context.Context, []byte) ([]byte, error) { return []byte("x"), nil } }, "not for this device's key"},
		{"another key's", func(o *Options) { o.Order = otherKey }, "not for this device's key"},
		{"trial refused", func(o *Options) { o.Try = func(context.Context, keypair.Files) error { return errRefused } }, "refuses"},
		{"long reason", func(o *Options) {
			o.Try = func(context.Context, keypair.Files) error { return errors.New(strings.Repeat("x", 9999)) }
		}, "xxx…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDevice(t)
			old := d.id()
			tt.change(&d.opts)
			s, err := d.run("a", Failed)
			if err != nil || !strings.Contains(s.Reason, tt.want) || len(s.Reason) > 400 || s.ID != old || d.id() != old || d.switches.Load() != 0 {
				t.Errorf("%+v, %v", s, err)
			}
			if left := d.left(); len(left) != 3 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// passing is an error that may pass by itself.
type passing struct{}

func (passing) Error() string   { return "passing" }
func (passing) Temporary() bool { return true }

// TestPatience: what passes is waited for, and a newer order replaces one that gets nowhere.
func TestPatience(t *testing.T) {
	d := newDevice(t)
	orders, tries := 0, 0
	d.opts.Order = func(ctx context.Context, csr []byte) ([]byte, error) {
		if orders++; orders <= 3*maxOrders {
			return nil, fmt.Errorf("order: %w", ErrOffline)
		}
		return sign(ctx, csr)
	}
	d.opts.Try = func(context.Context, keypair.Files) error {
		if tries++; tries <= 10 {
			return fmt.Errorf("try: %w", passing{})
		}
		return nil
	}
	if s, err := d.run("a", Done); err != nil || tries != 11 {
		t.Errorf("%+v, %v after %d tries", s, err, tries)
	}
	d = newDevice(t)
	r := (*Rotation)(nil)
	d.opts.Order = func(ctx context.Context, csr []byte) ([]byte, error) {
		if orders++; orders%3 == 0 {
			r.Want("b")
			d.opts.Order = sign
		}
		return nil, ErrOffline
	}
	orders = 0
	inner := d.opts
	inner.Order = func(ctx context.Context, csr []byte) ([]byte, error) { return d.opts.Order(ctx, csr) }
	var err error
	if r, err = New(inner); err != nil {
		t.Fatal(err)
	}
	r.Want("a")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for s := (Status{}); s.State != Done || s.Rotate != "b"; {
		if s = d.next(ctx); s.State == Probation {
			r.Online(true)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestRolledBack: a pair that works in the trial and is refused later makes place for the old one.
func TestRolledBack(t *testing.T) {
	d := newDevice(t)
	old := d.id()
	tries := 0
	d.opts.Try = func(_ context.Context, f keypair.Files) error {
		tries++
		if leaf, err := keypair.Leaf(f.CertFile); err != nil || tries > 1 && keypair.ID(leaf) != old {
			return errors.Join(err, errRefused)
		}
		return nil
	}
	if s, err := d.run("a", Probation); err != nil || s.ID == old {
		t.Fatalf("%+v, %v", s, err)
	}
	d.opts.timing.life, d.opts.timing.patience = time.Hour, time.Millisecond
	r, err := New(d.opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	s := Status{}
	for s.State != Failed {
		s = d.next(ctx)
	}
	if s.ID != old || s.Rotate != "a" || !strings.Contains(s.Reason, "refuses") {
		t.Errorf("%+v", s)
	}
	cancel()
	if err := <-ended; err != nil || d.id() != old || len(d.left()) != 3 || d.switches.Load() != 2 {
		t.Errorf("%v, left %v after %d switches", err, d.left(), d.switches.Load())
	}
}

func TestParseDesired(t *testing.T) {
	for _, tt := range []struct{ text, id, want string }{
		{`{"rotate":"2026-11-24"}`, "2026-11-24", ""},
		{`{}`, "", ""},
		{`null`, "", ""},
		{``, "", ""},
		{`{"rotate":null}`, "", ""},
		{`{"rotate":""}`, "", "1 to 64"},
		{`{"rotate":"` + strings.Repeat("x", 65) + `"}`, "", "1 to 64"},
		{`{"rotate":1}`, "", "any text"},
		{`{"renew":"x"}`, "", "any text"},
		{`[]`, "", "any text"},
	} {
		id, err := ParseDesired(json.RawMessage(tt.text))
		if id != tt.id || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q, %v", tt.text, id, err)
		}
	}
}
