package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/cloud/keypair"
	"gnomon/cloud/link"
	"gnomon/devcloud"
)

// childEnv is set for the process that TestSIGKILL kills: the factory and the folder, as JSON.
const childEnv = "GNOMON_PROVISION_CHILD"

func TestMain(m *testing.M) {
	if place := os.Getenv(childEnv); place != "" {
		f := &factory{}
		err := json.Unmarshal([]byte(place), &f.place)
		if err == nil {
			f.setUp()
			_, err = Run(context.Background(), f.opts)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// factory is a devcloud with a claim certificate, and a device that is to be provisioned.
type factory struct {
	*devcloud.Cloud
	t      *testing.T
	place  place
	opts   Options
	dials  int
	checks int
	said   []string
	spent  string // TestSpent's
}

// place is what a child needs to know.
type place struct {
	Broker, CA, Dir string
	Claim           keypair.Files
}

func newFactory(t *testing.T, o devcloud.CloudOptions) *factory {
	t.Helper()
	o.Dir, o.MQTTAddr, o.HTTPSAddr = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	cloud, err := devcloud.NewCloud(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cloud.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	claim, err := cloud.AddClaim("factory")
	if err != nil {
		t.Fatal(err)
	}
	f := &factory{Cloud: cloud, t: t, place: place{
		Broker: cloud.MQTTURL(), CA: cloud.CAFile(), Dir: filepath.Join(t.TempDir(), "identity"),
		Claim: keypair.Files{CertFile: claim.CertFile, KeyFile: claim.KeyFile},
	}}
	f.setUp()
	return f
}

func (f *factory) setUp() {
	f.opts = Options{
		Dir: f.place.Dir, Endpoint: f.place.Broker, Template: devcloud.FleetTemplate,
		Parameters: map[string]string{"SerialNumber": "4711", "Model": "x"}, Claim: f.connect, Check: f.check,
		Say: func(format string, args ...any) { f.said = append(f.said, fmt.Sprintf(format, args...)) },
		// devcloud takes a client id once a second, as AWS does
		pause: func(ctx context.Context, d time.Duration) error { return pause(ctx, min(d, 200*time.Millisecond)) },
	}
}

func (f *factory) connect(ctx context.Context, use func(context.Context, Conn) error) error {
	f.dials++
	c, err := link.Dial(ctx, link.Options{
		Broker: f.place.Broker, ClientID: fmt.Sprintf("claim-%d-%d", os.Getpid(), f.dials), CAFile: f.place.CA, Files: f.place.Claim,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return use(ctx, c)
}

func (f *factory) check(ctx context.Context, thing string, files keypair.Files) error {
	f.checks++
	c, err := link.Dial(ctx, link.Options{Broker: f.place.Broker, ClientID: thing, CAFile: f.place.CA, Files: files})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Subscribe(ctx, []string{"$aws/things/" + thing + "/shadow/get/accepted"}, func(string, []byte) {})
}

func (f *factory) run() (*Result, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	return Run(ctx, f.opts)
}

// want runs and expects the thing, with a number of active certificates.
func (f *factory) want(what string, already bool, certificates int) *Result {
	f.t.Helper()
	r, err := f.run()
	if err != nil || r.Thing != "gnomon-4711" || r.Already != already {
		f.t.Fatalf("%s: %+v, %v", what, r, err)
	}
	things, err := f.Things()
	active := f.Provisioning().Certificates("gnomon-4711")
	if err != nil || len(things) != 1 || len(active) != certificates {
		f.t.Errorf("%s: things %v with certificates %v, %v", what, things, active, err)
	}
	leaf, err := keypair.Leaf(r.Files.CertFile)
	if err != nil || keypair.ID(leaf) != r.CertificateID {
		f.t.Errorf("%s: certificate %v, %v", what, r.CertificateID, err)
	}
	return r
}

func TestProvision(t *testing.T) {
	f := newFactory(t, devcloud.CloudOptions{})
	r := f.want("first", false, 1)
	if got := f.Provisioning().Things()["gnomon-4711"].Attributes; got["model"] != "x" || r.Configuration["mqtt.topic_prefix"] == "" {
		t.Errorf("attributes %v, configuration %v", got, r.Configuration)
	}
	for _, path := range []string{r.Files.KeyFile, r.Files.CertFile, filepath.Join(f.opts.Dir, stateFile)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", path, err)
		}
	}
	if data, _ := os.ReadFile(filepath.Join(f.opts.Dir, stateFile)); strings.Contains(string(data), "wnership") || strings.Contains(string(data), "BEGIN") {
		t.Errorf("left in the state: %s", data)
	}
	before := f.dials
	f.want("again", true, 1)
	if f.dials != before {
		t.Error("the claim certificate was used again")
	}
	other := f.opts
	other.Template = "another"
	if _, err := Run(t.Context(), other); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("another template: %v", err)
	}

	if err := f.SetActive(r.CertificateID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := f.run(); err == nil || !strings.Contains(err.Error(), "activate it") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("with a certificate that was switched off: %v", err)
	}
	oldKey, _ := os.ReadFile(r.Files.KeyFile)
	f.opts.Force = true
	f.want("by force", false, 1)
	if previous, err := os.ReadFile(r.Files.KeyFile + ".old"); err != nil || string(previous) != string(oldKey) {
		t.Errorf("the old key was lost: %v", err)
	}
}

// TestTokenExpires: a token that is too old is not even tried.
func TestTokenExpires(t *testing.T) {
	f := newFactory(t, devcloud.CloudOptions{})
	crash := errors.New("killed")
	f.opts.done = func(step string) error {
		if step == "order" {
			return crash
		}
		return nil
	}
	if _, err := f.run(); !errors.Is(err, crash) {
		t.Fatal(err)
	}
	f.opts.done, f.opts.now = nil, func() time.Time { return time.Now().Add(tokenLife + time.Minute) }
	f.want("an hour later", false, 1)
	if said := strings.Join(f.said, "\n"); strings.Count(said, "asking for a certificate") != 2 || strings.Contains(said, "ownership") {
		t.Errorf("said: %s", said)
	}
}

func TestRejected(t *testing.T) {
	deny := func(string, string, map[string]string) bool { return false }
	for _, tt := range []struct {
		name   string
		cloud  devcloud.CloudOptions
		change func(*Options)
		want   string
	}{
		{"parameter", devcloud.CloudOptions{}, func(o *Options) { o.Parameters = nil }, "--parameter SerialNumber=VALUE"},
		{"hook", devcloud.CloudOptions{AllowProvisioning: deny}, func(*Options) {}, "pre-provisioning hook"},
		{"no template", devcloud.CloudOptions{Templates: map[string][]byte{}}, func(*Options) {}, "check the name of the template"},
		{"thing's name", devcloud.CloudOptions{}, func(o *Options) { o.Parameters = map[string]string{"SerialNumber": "a b"} }, "check the parameters"},
		{"name", devcloud.CloudOptions{}, func(o *Options) { o.Template = "a/b" }, "is not a name"},
		{"huge", devcloud.CloudOptions{}, func(o *Options) { o.Parameters["x"] = strings.Repeat("x", maxParameter) }, "more than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFactory(t, tt.cloud)
			tt.change(&f.opts)
			if _, err := f.run(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
			if things, _ := f.Things(); len(things) != 0 {
				t.Errorf("things %v", things)
			}
		})
	}
}

// TestPolicy: a topic that the claim's policy forbids ends the connection, which is said.
func TestPolicy(t *testing.T) {
	f := newFactory(t, devcloud.CloudOptions{})
	f.opts.Template = "another"
	f.opts.pause = func(context.Context, time.Duration) error { return context.DeadlineExceeded }
	_, err := f.run()
	if err == nil || !strings.Contains(err.Error(), "iot:Subscribe") {
		t.Errorf("error %v", err)
	}
}

// TestNetwork: what may pass is tried again, and said.
func TestNetwork(t *testing.T) {
	f := newFactory(t, devcloud.CloudOptions{})
	claim, away, check := f.opts.Claim, 3, f.opts.Check
	var pauses []time.Duration
	f.opts.pause = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return pause(ctx, min(d, 300*time.Millisecond))
	}
	f.opts.Claim = func(ctx context.Context, use func(context.Context, Conn) error) error {
		if away--; away >= 0 {
			_, err := link.Dial(ctx, link.Options{Broker: "127.0.0.1:1", Files: f.place.Claim})
			return err
		}
		return claim(ctx, use)
	}
	refusals := 2 // the attachments of a new certificate have not got around yet
	f.opts.Check = func(ctx context.Context, thing string, files keypair.Files) error {
		if refusals--; refusals >= 0 {
			files = f.place.Claim
		}
		return check(ctx, thing, files)
	}
	f.want("in the end", false, 1)
	if len(pauses) < 4 || pauses[0] > firstPause || pauses[2] < firstPause || !strings.Contains(strings.Join(f.said, "\n"), "next try in") {
		t.Errorf("pauses %v, said %v", pauses, f.said)
	}
	f.opts.Dir = t.TempDir()
	f.opts.Claim = func(context.Context, func(context.Context, Conn) error) error { return &LostError{"away"} }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, f.opts); err == nil || !strings.Contains(err.Error(), "run the command again") {
		t.Errorf("when the time is up: %v", err)
	}
}

func TestFolder(t *testing.T) {
	f := newFactory(t, devcloud.CloudOptions{})
	unlock, err := folder{f.opts.Dir}.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.run(); err == nil || !strings.Contains(err.Error(), "another gnomon provision") {
		t.Errorf("two at once: %v", err)
	}
	unlock()
	state := filepath.Join(f.opts.Dir, stateFile)
	for what, data := range map[string]string{"damaged": "{", "loose": "{}"} {
		mode := os.FileMode(0o600)
		if what == "loose" {
			mode = 0o644
		}
		if err := errors.Join(os.WriteFile(state, []byte(data), 0o600), os.Chmod(state, mode)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.run(); err == nil || !strings.Contains(err.Error(), stateFile) {
			t.Errorf("%s state: %v", what, err)
		}
	}
	_ = os.Remove(state)
	if err := os.WriteFile(Files(f.opts.Dir).CertFile, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.run(); err == nil || !strings.Contains(err.Error(), "has not made") {
		t.Errorf("somebody's certificate: %v", err)
	}
}

// TestOrder: a thing gets another certificate, and nobody gets one for another.
func TestOrder(t *testing.T) {
	f := newFactory(t, devcloud.CloudOptions{})
	r := f.want("first", false, 1)
	time.Sleep(time.Second) // AWS takes a client id once a second, and this is not about trying again
	c, err := link.Dial(t.Context(), link.Options{Broker: f.MQTTURL(), ClientID: r.Thing, CAFile: f.CAFile(), Files: r.Files})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	key, err := keypair.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := keypair.Request(key, r.Thing)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Order(t.Context(), c, devcloud.RotationTemplate, "gnomon-4712", nil, csr); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("for another thing: %v", err)
	}
	cert, err := Order(t.Context(), c, devcloud.RotationTemplate, r.Thing, nil, csr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keypair.Belongs(cert, key); err != nil {
		t.Error(err)
	}
	if active := f.Provisioning().Certificates(r.Thing); len(active) != 2 {
		t.Errorf("certificates %v", active)
	}
}
