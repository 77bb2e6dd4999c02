package devcloud_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"gnomon/cloud"
	"gnomon/devcloud"
	"gnomon/shadow"
	"gnomon/telemetry"
)

// account is a running Cloud.
type account struct {
	*devcloud.Cloud
	t    *testing.T
	stop func()
}

func startCloud(t *testing.T, o devcloud.CloudOptions) *account {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.MQTTAddr, o.HTTPSAddr = "127.0.0.1:0", "127.0.0.1:0"
	c, err := devcloud.NewCloud(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stopped := false
	stop := func() {
		if cancel(); !stopped {
			stopped = true
			if err := wait(t, done); err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return &account{c, t, stop}
}

func (a *account) thing(name string) devcloud.Thing {
	a.t.Helper()
	thing, err := a.AddThing(name)
	if err != nil {
		a.t.Fatal(err)
	}
	return thing
}

// client makes an HTTPS client, with a certificate if there is one.
func (a *account) client(certFile, keyFile string) *http.Client {
	a.t.Helper()
	pem, err := os.ReadFile(a.CAFile())
	if err != nil {
		a.t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(pem)
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config}
	a.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func (a *account) admin() aws.Credentials {
	id, secret := a.AdminCredentials()
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}
}

// call is one call of the IoT data plane; signed if there are credentials.
func (a *account) call(client *http.Client, c *aws.Credentials, method, path, body string) (int, string) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.HTTPSURL()+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if c != nil {
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(a.t.Context(), *c, r, hex.EncodeToString(sum[:]), "iotdata", "eu-central-1", time.Now()); err != nil {
			a.t.Fatal(err)
		}
	}
	answer, err := client.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answer.StatusCode, string(got)
}

func (a *account) credentials(thing devcloud.Thing, alias string) *cloud.Credentials {
	a.t.Helper()
	c, err := cloud.NewCredentials(cloud.CredentialsOptions{
		Endpoint: a.HTTPSURL(), RoleAlias: alias, Thing: thing.Name,
		CertFile: thing.CertFile, KeyFile: thing.KeyFile, CAFile: thing.CAFile,
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

// device runs gnomon's own MQTT and shadow clients.
func (a *account) device(thing devcloud.Thing, desired chan<- shadow.Desired) (*telemetry.Client, *shadow.Client) {
	a.t.Helper()
	s, err := shadow.New(shadow.Options{Thing: thing.Name, OnDesired: func(d shadow.Desired) { desired <- d }})
	if err != nil {
		a.t.Fatal(err)
	}
	m, err := telemetry.New(telemetry.Options{
		Broker: a.MQTTURL(), Thing: thing.Name, TopicPrefix: "dt/gnomon", QoS: 1, BootID: "boot",
		CAFile: thing.CAFile, CertFile: thing.CertFile, KeyFile: thing.KeyFile,
		OnConnect: func(ctx context.Context, c *telemetry.Conn) { _ = s.Serve(ctx, c) }, // the end of the connection
	})
	if err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	a.t.Cleanup(func() { cancel(); _ = wait(a.t, done) })
	return m, s
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// TestDevice is what gnomon does: it reports, is told what to be, and publishes; and an administrator watches.
func TestDevice(t *testing.T) {
	a := startCloud(t, devcloud.CloudOptions{})
	thing := a.thing("cam")
	desired := make(chan shadow.Desired, 10)
	m, s := a.device(thing, desired)
	if err := s.Report(map[string]any{"model": "a"}); err != nil {
		t.Fatal(err)
	}
	if d := wait(t, desired); string(d.State) != "{}" {
		t.Errorf("first desired state %s", d.State)
	}
	admin, web := a.admin(), a.client("", "")
	until(t, "the report", func() bool {
		_, body := a.call(web, &admin, http.MethodGet, "/things/cam/shadow", "")
		return strings.Contains(body, `"reported":{"model":"a"}`)
	})
	if code, body := a.call(web, &admin, http.MethodPost, "/things/cam/shadow", `{"state":{"desired":{"model":"b"}}}`); code != 200 {
		t.Fatalf("update: %d %s", code, body)
	}
	if d := wait(t, desired); string(d.State) != `{"model":"b"}` {
		t.Errorf("desired state %s", d.State)
	}
	for i := range 50 {
		if err := m.Publish("dt/gnomon/cam/street/detections", fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "acknowledgements", func() bool { return m.Stats().Acked == 50 })
	if st := m.Stats(); st.Reconnects != 0 || st.LastError != "" {
		t.Errorf("the connection had trouble: %+v", st)
	}
}

// lookUp finds a program of the mosquitto package.
func lookUp(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("GNOMON_REQUIRE_MOSQUITTO") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("needs %s: apt-get install mosquitto-clients", name)
	}
	return path
}

// TestMosquittoClients: another implementation of both protocol versions, with certificates, may do what the policy
// says.
func TestMosquittoClients(t *testing.T) {
	pub, sub := lookUp(t, "mosquitto_pub"), lookUp(t, "mosquitto_sub")
	a := startCloud(t, devcloud.CloudOptions{})
	_, port, _ := strings.Cut(strings.TrimPrefix(a.MQTTURL(), "mqtts://"), ":")
	run := func(program string, thing devcloud.Thing, id string, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, program, append([]string{
			"-h", "localhost", "-p", port, "--cafile", thing.CAFile, "--cert", thing.CertFile, "--key", thing.KeyFile, "-i", id,
		}, args...)...).CombinedOutput()
		return string(out), err
	}
	for _, version := range []string{"mqttv311", "mqttv5"} {
		thing := a.thing("cam-" + version)
		topic := "dt/gnomon/" + thing.Name + "/status"
		if out, err := run(pub, thing, thing.Name, "-V", version, "-q", "1", "-r", "-t", topic, "-m", "on"); err != nil {
			t.Errorf("%s publish: %v %s", version, err, out)
		}
		watch, err := a.AdminFiles()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := run(sub, watch, "devcloud-admin-"+version, "-V", version, "-q", "1", "-t", topic, "-C", "1"); err != nil || out != "on\n" {
			t.Errorf("%s watch: %v %q", version, err, out)
		}
		if out, err := run(pub, thing, "stranger", "-V", version, "-t", topic, "-m", "x"); err == nil {
			t.Errorf("%s with another client id: %s", version, out)
		}
	}
}

// TestCloudRestart: certificates, credentials, shadows, objects and parameters are there again.
func TestCloudRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	a := startCloud(t, devcloud.CloudOptions{Dir: dir})
	thing := a.thing("cam")
	cert, err := os.ReadFile(thing.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := a.credentials(thing, devcloud.DefaultRoleAlias).Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin := a.admin()
	if code, body := a.call(a.client("", ""), &admin, http.MethodPost, "/things/cam/shadow", `{"state":{"desired":{"a":1}}}`); code != 200 {
		t.Fatalf("update: %d %s", code, body)
	}
	if err := a.Objects().PutObject("gnomon-models", "a", strings.NewReader("weights")); err != nil {
		t.Fatal(err)
	}
	a.stop()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the state directory: %v, %v", info.Mode(), err)
	}

	a = startCloud(t, devcloud.CloudOptions{Dir: dir})
	if names, err := a.Things(); err != nil || len(names) != 1 {
		t.Errorf("things %v, %v", names, err)
	}
	if again, _ := os.ReadFile(a.thing("cam").CertFile); !bytes.Equal(again, cert) {
		t.Error("the certificate has changed")
	}
	desired := make(chan shadow.Desired, 10)
	a.device(thing, desired)
	if d := wait(t, desired); string(d.State) != `{"a":1}` {
		t.Errorf("desired %s", d.State)
	}
	out, err := s3.NewFromConfig(a.config(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return issued, nil
	})), pathStyle).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("gnomon-models"), Key: aws.String("a")})
	if err != nil {
		t.Fatal(err)
	}
	_ = out.Body.Close()
}

func TestRemoveThing(t *testing.T) {
	a := startCloud(t, devcloud.CloudOptions{})
	m, _ := a.device(a.thing("cam"), make(chan shadow.Desired, 10))
	until(t, "a connection", func() bool { return m.Stats().Connected })
	if err := a.RemoveThing("cam"); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal", func() bool { s := m.Stats(); return !s.Connected && strings.Contains(s.LastError, "certificate") })
}

func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	if _, err := devcloud.Discover(dir); err == nil || !strings.Contains(err.Error(), "start gnomon devcloud") {
		t.Errorf("before: %v", err)
	}
	a := startCloud(t, devcloud.CloudOptions{Dir: dir})
	until(t, "endpoints.json", func() bool { _, err := devcloud.Discover(dir); return err == nil })
	e, err := devcloud.Discover(dir)
	if err != nil || e.MQTT != a.MQTTURL() || e.HTTPS != a.HTTPSURL() || e.CAFile != a.CAFile() {
		t.Errorf("%+v, %v", e, err)
	}
	keys := struct{ AccessKeyID, SecretAccessKey string }{}
	data, err := os.ReadFile(e.AdminFile)
	if err == nil {
		err = json.Unmarshal(data, &keys)
	}
	if err != nil || keys.AccessKeyID != a.admin().AccessKeyID || keys.SecretAccessKey != a.admin().SecretAccessKey {
		t.Errorf("admin.json: %v", err)
	}
	if _, err := tls.LoadX509KeyPair(e.AdminCertFile, e.AdminKeyFile); err != nil {
		t.Error(err)
	}
	if _, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: dir, MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "in use by another devcloud") {
		t.Errorf("a second one: %v", err)
	}
	a.stop()
	if _, err := devcloud.Discover(dir); err == nil {
		t.Error("endpoints.json is still there")
	}
}

func TestCloudErrors(t *testing.T) {
	running := t.TempDir()
	a := startCloud(t, devcloud.CloudOptions{Dir: running})
	for _, test := range []struct {
		o    devcloud.CloudOptions
		want string
	}{
		{devcloud.CloudOptions{}, "no directory"},
		{devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: strings.TrimPrefix(a.MQTTURL(), "mqtts://")}, "choose another port"},
		{devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: strings.TrimPrefix(a.HTTPSURL(), "https://")}, "choose another port"},
		{devcloud.CloudOptions{Dir: t.TempDir(), Policy: []byte("{")}, "not JSON"},
	} {
		if _, err := devcloud.NewCloud(test.o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test.o, err)
		}
	}
	until(t, "Run", func() bool { _, err := devcloud.Discover(running); return err == nil })
	if err := a.Run(t.Context()); err == nil {
		t.Error("Run twice is taken")
	}
	dir := t.TempDir()
	c, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: dir, MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "make a new one") {
		t.Errorf("Run after Close: %v", err)
	}
}
