package params

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gnomon/cloud"
	"gnomon/devcloud"
)

const patience = 20 * time.Second

// account is a devcloud with an administrator and a device.
type account struct {
	*devcloud.Cloud
	t     *testing.T
	admin *ssm.Client
	o     Options // the device's
	got   chan []Parameter
}

func newAccount(t *testing.T) *account {
	t.Helper()
	c, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	thing, err := c.AddThing("cam")
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := cloud.NewCredentials(cloud.CredentialsOptions{
		Endpoint: c.HTTPSURL(), RoleAlias: devcloud.DefaultRoleAlias, Thing: thing.Name,
		CertFile: thing.CertFile, KeyFile: thing.KeyFile, CAFile: thing.CAFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := cloud.HTTPClient(c.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	a := &account{Cloud: c, t: t, got: make(chan []Parameter, 10)}
	a.admin = ssm.NewFromConfig(aws.Config{
		Region: "eu-central-1", BaseEndpoint: aws.String(c.HTTPSURL()), HTTPClient: client,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			id, secret := c.AdminCredentials()
			return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, nil
		}),
	})
	a.o = Options{
		Path: "/gnomon/fleet", Every: minEvery, File: filepath.Join(t.TempDir(), "parameters.json"), Region: "eu-central-1",
		Endpoint: c.HTTPSURL(), Credentials: credentials, Client: client, OnChange: func(p []Parameter) { a.got <- p }, pause: 20 * time.Millisecond,
	}
	return a
}

func (a *account) put(name, value string, kind types.ParameterType) {
	a.t.Helper()
	_, err := a.admin.PutParameter(a.t.Context(), &ssm.PutParameterInput{Name: &name, Value: &value, Type: kind, Overwrite: aws.Bool(true)})
	if err != nil {
		a.t.Fatal(err)
	}
}

// run starts a poller; end stops it and waits.
func run(t *testing.T, o Options) (p *Poller, end func()) {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	end = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(end)
	return p, end
}

func next(t *testing.T, got <-chan []Parameter) []Parameter {
	t.Helper()
	select {
	case p := <-got:
		return p
	case <-time.After(patience):
		t.Fatal("no parameters came")
		return nil
	}
}

// Real requests, signed with the device's own credentials: pages with an empty one between them, a SecureString that
// nothing shows, changes, and the values that a later start finds.
func TestParameterStore(t *testing.T) {
	a := newAccount(t)
	core, logs := observer.New(zap.DebugLevel)
	a.o.Log = zap.New(core)
	const secret = "PLANTED-SECRET"
	a.put("/gnomon/fleet/log/level", "debug", types.ParameterTypeString)
	a.put("/gnomon/fleet/secret", secret, types.ParameterTypeSecureString)
	a.put("/gnomon/fleetx/log/level", "another path", types.ParameterTypeString)
	for i := range 23 {
		a.put(fmt.Sprintf("/gnomon/fleet/many/p%02d", i), "a,b", types.ParameterTypeStringList)
	}
	a.Objects().Parameters().Throttle(2)
	p, end := run(t, a.o)
	got := next(t, a.got)
	if len(got) != 25 || got[0] != (Parameter{"/gnomon/fleet/log/level", TypeString, "debug"}) ||
		got[1] != (Parameter{"/gnomon/fleet/many/p00", TypeList, "a,b"}) || got[24].Value != secret || !got[24].Secret() {
		t.Errorf("got %d parameters: %v", len(got), got)
	}
	if s := p.Stats(); s.Polls != 1 || s.Failures != 0 || s.Known != 25 || s.LastSuccess.IsZero() {
		t.Errorf("stats %+v", s)
	}
	if s := fmt.Sprintf("%v %+v %#v", got, got[24], got); strings.Contains(s, secret) {
		t.Errorf("printing a parameter shows its value: %s", s)
	}
	end()
	for _, line := range logs.All() {
		if s := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(s, secret) {
			t.Errorf("a log has the value: %s", s)
		}
	}
	if info, err := os.Stat(a.o.File); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}

	// The next start has them before it asks, and hears of what has changed.
	a.put("/gnomon/fleet/log/level", "warn", types.ParameterTypeString)
	_, end = run(t, a.o)
	if again := next(t, a.got); !slices.Equal(again, got) {
		t.Errorf("from the file: %v", again)
	}
	if changed := next(t, a.got); len(changed) != 25 || changed[0].Value != "warn" {
		t.Errorf("changed: %v", changed)
	}
	end()

	// Without a network the file is all there is; the values of another path are not taken.
	_ = a.Close()
	p, end = run(t, a.o)
	if kept := next(t, a.got); kept[0].Value != "warn" {
		t.Errorf("offline: %v", kept)
	}
	until(t, "a failure", func() bool { return p.Stats().Failures > 0 })
	end()
	a.o.Path = "/gnomon/other"
	p, end = run(t, a.o)
	until(t, "a failure", func() bool { return p.Stats().Failures > 0 })
	end()
	if len(a.got) > 0 {
		t.Errorf("of another path: %v", <-a.got)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no " + what)
		}
	}
}

// A damaged file is reported, costs nothing but itself, and is replaced by the next good answer.
func TestDamagedFile(t *testing.T) {
	a := newAccount(t)
	a.put("/gnomon/fleet/log/level", "debug", types.ParameterTypeString)
	good := `{"path":"/gnomon/fleet","parameters":[{"name":"/gnomon/fleet/log/level","type":"String","value":"debug"}]}`
	for name, spoil := range map[string]func(string) error{
		"empty": func(f string) error { return os.WriteFile(f, nil, 0o600) },
		"half":  func(f string) error { return os.WriteFile(f, []byte(good[:60]), 0o600) },
		"huge":  func(f string) error { return os.WriteFile(f, make([]byte, maxFile+1), 0o600) },
		"foreign": func(f string) error {
			return os.WriteFile(f, []byte(strings.Replace(good, "fleet/", "else/", 1)), 0o600)
		},
		"folder": func(f string) error { return os.Mkdir(f, 0o700) },
		"link":   func(f string) error { return os.Symlink("/dev/zero", f) },
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.WarnLevel)
			o, got := a.o, make(chan []Parameter, 10)
			o.Log, o.OnChange = zap.New(core), func(p []Parameter) { got <- p }
			o.File = filepath.Join(t.TempDir(), "parameters.json")
			if err := spoil(o.File); err != nil {
				t.Fatal(err)
			}
			_, end := run(t, o)
			if p := next(t, got); len(p) != 1 || p[0].Value != "debug" {
				t.Errorf("got %v", p)
			}
			end()
			if logs.Len() == 0 {
				t.Error("nobody was told")
			}
			if text, err := os.ReadFile(o.File); name != "folder" && (err != nil || string(text) != good) {
				t.Errorf("the file is %q afterwards, %v", text, err)
			}
		})
	}
}
