package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gnomon/doctor"
	"gnomon/supervise"
)

// examined runs gnomon doctor in this process.
func examined(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	needParts(t)
	c := doctorCommand()
	c.SilenceErrors, c.SilenceUsage = true, true
	var stdout bytes.Buffer
	c.SetOut(&stdout)
	c.SetArgs(args)
	code = exitCode(c.ExecuteContext(t.Context()))
	return stdout.String(), code
}

// diagnosis is what gnomon doctor --json finds, by check.
func diagnosis(t *testing.T, wantCode int, args ...string) (found map[string]doctor.Result, names []string) {
	t.Helper()
	out, code := examined(t, append(args, "--json", "--duration", "500ms")...)
	var r doctor.Report
	d := json.NewDecoder(strings.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || code != wantCode || r.Schema != doctor.Schema || r.Version != version {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	found = map[string]doctor.Result{}
	for _, c := range r.Checks {
		found[c.Name] = c
		names = append(names, c.Name)
	}
	return found, names
}

// wants holds a check against what it should find and say.
func wants(t *testing.T, found map[string]doctor.Result, name string, status doctor.Status, detail string) {
	t.Helper()
	if c := found[name]; c.Status != status || !strings.Contains(c.Detail, detail) {
		t.Errorf("%s: %+v, want %s and %q", name, c, status, detail)
	}
}

// TestDoctorDemo: without a configuration all is well, and the report has the form that programs rely on.
func TestDoctorDemo(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	found, names := diagnosis(t, exitDone)
	if d := cmp.Diff([]string{
		"configuration", "agent", "clock", "disk", "permissions", "certificate", "mqtt", "mqtt connect", "credentials", "parameters",
		"onnxruntime", "gpu", "temperature", "model", "source sample",
	}, names); d != "" {
		t.Error(d)
	}
	wants(t, found, "configuration", doctor.OK, "the demo")
	wants(t, found, "agent", doctor.OK, "none runs")
	wants(t, found, "disk", doctor.OK, "free")
	wants(t, found, "mqtt", doctor.Skipped, "inside the program")
	wants(t, found, "onnxruntime", doctor.OK, "cpu")
	wants(t, found, "model", doctor.OK, "ms on cpu")
	wants(t, found, "source sample", doctor.OK, "768x576, ")
	out, code := examined(t, "--duration", "200ms", "--offline")
	if code != exitDone || !strings.Contains(out, "what to do") || !strings.Contains(out, " 0 fail, ") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if _, code := examined(t, "--duration", "1h"); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
}

// TestDoctorBroken: each thing that is wrong is found, whatever else is wrong, and the rest is looked at all the same.
func TestDoctorBroken(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	dir := t.TempDir()
	cert, key := oldCertificate(t, dir)
	config := write(t, filepath.Join(dir, "gnomon.yaml"), []byte(fmt.Sprintf(`
device: {thing: camera-7}
sources:
  gone: {uri: /dev/video99}
  none: {uri: none.mp4}
  off: {uri: /dev/video98, enabled: false}
  dark: {uri: "exec:echo no picture"}
  far: {uri: "rtsp://admin:Pl4ntedPassword01@127.0.0.1:%[1]d/stream"}
model: {path: none.onnx}
mqtt: {broker: "mqtts://127.0.0.1:%[1]d", cert_file: %[2]s, key_file: %[3]s}
`, freePort(t), cert, key)))
	if err := os.Chmod(config, 0o644); err != nil {
		t.Fatal(err)
	}
	found, _ := diagnosis(t, exitFailed, "--config", config)
	wants(t, found, "source gone", doctor.Failed, "/dev/video99")
	wants(t, found, "source none", doctor.Failed, "no such file")
	wants(t, found, "source off", doctor.Skipped, "disabled")
	wants(t, found, "source dark", doctor.Failed, "")
	wants(t, found, "source far", doctor.Failed, "")
	wants(t, found, "model", doctor.Failed, "none.onnx")
	wants(t, found, "onnxruntime", doctor.OK, "cpu")
	wants(t, found, "mqtt", doctor.Failed, "nothing listens there")
	wants(t, found, "mqtt connect", doctor.Failed, "nothing listens there")
	wants(t, found, "certificate", doctor.Failed, "expired")
	wants(t, found, "permissions", doctor.Warning, "passwords of cameras")
	for name, c := range found {
		if c.Status == doctor.Failed && c.Do == "" || strings.Contains(c.Detail+c.Do, "Pl4nted") {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	found, _ = diagnosis(t, exitFailed, "--config", config, "--offline")
	wants(t, found, "permissions", doctor.Failed, "open to others")
	wants(t, found, "certificate", doctor.Failed, "open to others")
	wants(t, found, "source far", doctor.Skipped, "--offline")
	wants(t, found, "mqtt", doctor.Skipped, "--offline")

	write(t, config, []byte("sorces: {}\n"))
	found, names := diagnosis(t, exitFailed, "--config", config)
	wants(t, found, "configuration", doctor.Failed, "sorces")
	if d := cmp.Diff([]string{"configuration", "clock", "disk"}, names); d != "" {
		t.Error(d)
	}
}

// TestDoctorBeside: an agent that runs is not disturbed, and what it holds is no failure; how the last one ended is told.
func TestDoctorBeside(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	dir, err := startsDir("camera-7")
	if err != nil {
		t.Fatal(err)
	}
	begin := func() *supervise.Starts {
		s, err := supervise.Open(dir, supervise.Options{Version: "1.2.3"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Begin(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	port := freePort(t)
	mosquitto(t, port, "allow_anonymous true")
	config := write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), []byte(fmt.Sprintf(
		"device: {thing: camera-7}\nsources: {front: {uri: /dev/video99}}\nmqtt: {broker: \"mqtt://127.0.0.1:%d\"}\n", port)))
	s := begin()
	found, _ := diagnosis(t, exitDone, "--config", config)
	wants(t, found, "agent", doctor.OK, fmt.Sprintf("process %d runs", os.Getpid()))
	wants(t, found, "mqtt", doctor.OK, "not encrypted")
	wants(t, found, "mqtt connect", doctor.Skipped, "--connect")
	wants(t, found, "source front", doctor.Warning, "the agent that runs")
	found, _ = diagnosis(t, exitDone, "--config", config, "--connect")
	wants(t, found, "mqtt connect", doctor.OK, `"camera-7"`)
	if err := s.End("a camera was stuck", false); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found, _ = diagnosis(t, exitFailed, "--config", config)
	wants(t, found, "agent", doctor.Warning, "failed: a camera was stuck")
	wants(t, found, "source front", doctor.Failed, "/dev/video99")
	for range 5 {
		if err := begin().Close(); err != nil { // five crashes
			t.Fatal(err)
		}
	}
	s = begin()
	found, _ = diagnosis(t, exitDone, "--config", config)
	wants(t, found, "agent", doctor.Warning, "in safe mode")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDoctorCloud: a device of AWS, as devcloud plays it, is well; without its role it is told so.
func TestDoctorCloud(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	f := newField(t, paced(t, "testdata/pictures/reds", "default"), "", "")
	found, _ := diagnosis(t, exitDone, "--config", f.config)
	wants(t, found, "certificate", doctor.OK, "valid until")
	wants(t, found, "mqtt", doctor.OK, "TLS 1.3")
	wants(t, found, "mqtt connect", doctor.OK, demoThing)
	wants(t, found, "credentials", doctor.OK, "good until")
	wants(t, found, "parameters", doctor.OK, "0 below /gnomon/fleet")
	wants(t, found, "source s0", doctor.OK, "frames/s")
	f.cloud.FailCredentials(403, "the role may not be taken")
	found, _ = diagnosis(t, exitFailed, "--config", f.config)
	wants(t, found, "credentials", doctor.Failed, "may not be taken")
	wants(t, found, "parameters", doctor.Failed, "credentials")
}

// oldCertificate makes a pair that has expired.
func oldCertificate(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, -1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile = write(t, filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyFile = write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	if err := os.Chmod(keyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}
