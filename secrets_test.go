package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gnomon/telemetry/logs"
	"gnomon/telemetry/redact"
)

// plant is a text in which a secret stands where people and clouds put them by mistake, or because it belongs there.
type plant struct {
	name string
	text string // SECRET stands for the secret
	leak string // where it gets out today, and what has to be done; empty: nowhere
}

// secret is that of plant number i of a kind: something to look for that has no other meaning.
func secret(kind string, i int) string { return fmt.Sprintf("Pl4nted%s%02dxKq9", kind, i) }

func (p plant) with(secret string) string { return strings.ReplaceAll(p.text, "SECRET", secret) }

// leaked fails the test if a secret is in a text.
func (p plant) leaked(t *testing.T, what, text, secret string) {
	t.Helper()
	i := strings.Index(text, secret)
	if i < 0 {
		return
	}
	if p.leak != "" {
		t.Skipf("known: %s: %s", what, p.leak)
	}
	t.Errorf("%s: the secret is in %s: …%s…", p.name, what, text[max(0, i-120):min(len(text), i+120)])
}

const pemLines = "-----BEGIN EC PRIVATE KEY-----\n      MHcCAQEEISECRETq83vEjRWeJ\n      -----END EC PRIVATE KEY-----"

// inConfig are configurations that are refused.
func inConfig() []plant {
	return []plant{
		{name: "camera with a bad port", text: "sources: {a: {uri: 'rtsp://admin:SECRET@cam:99999/x'}}"},
		{name: "camera with a bad escape", text: "sources: {a: {uri: 'rtsp://admin:SECRET%@cam/x'}}"},
		{name: "camera with a slash in the password", text: "sources: {a: {uri: 'rtsp://admin:a/SECRET@cam/x'}}"},
		{name: "camera with TLS", text: "sources: {a: {uri: 'rtsps://admin:SECRET@cam/x'}}"},
		{name: "file with a password", text: "sources: {a: {uri: 'file://admin:SECRET@cam/x'}}"},
		{name: "camera that is no mapping", text: "sources: {a: 'rtsp://admin:SECRET@cam/x'}", leak: "quote in config/yamldoc shows it as it is"},
		{name: "cameras in a list", text: "sources: ['rtsp://admin:SECRET@cam/x']"},
		{name: "one camera as the sources", text: "sources: 'rtsp://admin:SECRET@cam/x'", leak: "quote in config/yamldoc shows it as it is"},
		{name: "camera as the name of a source", text: "sources: {'rtsp://admin:SECRET@cam/x': {}}", leak: "Addf in config/yamldoc shows the path as it is"},
		{name: "quotation mark that is missing", text: "sources:\n  a:\n    uri: 'rtsp://admin:SECRET@cam/x\nlog: {}\n"},
		{name: "bracket that is missing", text: "sources: {a: {uri: 'rtsp://admin:SECRET@cam/x'}\nlog: {}\n"},
		{name: "camera twice", text: "sources: {a: {uri: 'rtsp://admin:SECRET@cam/x', uri: sample}}"},
		{name: "password of a camera", text: "sources: {a: {uri: 'rtsp://cam/x', password: SECRET}}"},
		{name: "broker with a password", text: "mqtt: {broker: 'mqtts://gnomon:SECRET@broker:8883'}"},
		{name: "broker of another kind", text: "mqtt: {broker: 'amqp://gnomon:SECRET@broker'}"},
		{name: "password of the broker", text: "mqtt: {password: SECRET}"},
		{name: "key in place of its file", text: "mqtt:\n  key_file: |\n      " + pemLines + "\n", leak: "shown in config/check.go shows it as it is"},
		{name: "trusted private key in place of its file", text: "models:\n  trusted_keys:\n    - |\n      " + pemLines + "\n", leak: "shown in config/check.go shows it as it is"},
		{name: "keys of AWS", text: "aws: {access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: SECRET}"},
		{name: "AWS endpoint with a password", text: "aws: {endpoint_url: 'https://u:SECRET@h/x'}"},
		{name: "presigned AWS endpoint", text: "aws: {endpoint_url: 'https://h/x?X-Amz-Signature=SECRET'}", leak: "shown in config/check.go shows it as it is"},
		{name: "credentials endpoint with a password", text: "aws: {credentials_endpoint: 'https://u:SECRET@h', role_alias: r}", leak: "shown in config/check.go shows it as it is"},
		{name: "registry with a token", text: "aws: {ecr_registries: ['AWS:SECRET@registry']}", leak: "AWS.check in config/cloud.go shows what is before the @"},
		{name: "presigned pattern", text: "models: {allow: ['http://b/*?X-Amz-Signature=SECRET']}", leak: "shown in config/check.go shows it as it is"},
		{name: "presigned model", text: "model: {path: 'https://b/m.onnx?X-Amz-Signature=SECRET'}", leak: "shown in config/check.go shows it as it is"},
	}
}

// Whatever is wrong with a configuration, the answer doesn't repeat its secrets.
func TestPlantedSecretsInConfig(t *testing.T) {
	for i, p := range inConfig() {
		t.Run(p.name, func(t *testing.T) {
			s := secret("C", i)
			path := write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), []byte(p.with(s)))
			for _, args := range [][]string{{"config", "check", path}, {"run", "--config", path}} {
				out, code, err := inProcess(t, args...)
				if err == nil || code != exitUsage {
					t.Fatalf("%s: code %d, %v, %s", args[0], code, err, out)
				}
				p.leaked(t, "gnomon "+args[0], out+err.Error(), s)
			}
		})
	}
}

// A good configuration is shown without the passwords of its cameras.
func TestPlantedSecretsShown(t *testing.T) {
	for i, p := range []plant{
		{name: "password", text: "sources: {a: {uri: 'rtsp://admin:SECRET%40@cam/x'}}"},
		{name: "parameter", text: "sources: {a: {uri: 'http://cam/video?user=admin&pwd=SECRET'}}", leak: "Source.Redacted in config shows parameters"},
	} {
		t.Run(p.name, func(t *testing.T) {
			s := secret("W", i)
			path := write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), []byte(p.with(s)))
			for _, form := range [][]string{nil, {"--origin"}, {"--json"}} {
				out, _, err := inProcess(t, append([]string{"config", "show", "--config", path}, form...)...)
				if err != nil || !strings.Contains(out, "cam/") {
					t.Fatalf("%v: %v, %s", form, err, out)
				}
				p.leaked(t, "gnomon config show", out, s)
			}
		})
	}
}

// inShadow are desired documents; URL stands for devcloud's.
func inShadow() []plant {
	sum := strings.Repeat("a", 64)
	model := func(uri string) string {
		return fmt.Sprintf(`{"models":{"default":{"uri":%q,"sha256":%q,"version":"1","signature":null}}}`, uri, sum)
	}
	return []plant{
		{name: "presigned URL that is refused", text: model("URL/gnomon-models/m.tar?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SECRET%2F20260101&X-Amz-Security-Token=SECRET&X-Amz-Signature=SECRET")},
		{name: "presigned URL that nobody answers", text: model("https://127.0.0.1:1/m.tar?X-Amz-Signature=SECRET")},
		{name: "presigned URL of no server", text: model("https://none.invalid/m.tar?sig=SECRET&token=SECRET")},
		{name: "presigned URL with a space", text: model("https://h/m.tar?X-Amz-Signature=SECRET x")},
		{name: "presigned URL with a bad escape", text: model("https://h/%zz?X-Amz-Signature=SECRET")},
		{name: "presigned URL with http", text: model("http://h/m.tar?X-Amz-Signature=SECRET")},
		{name: "URL with a password", text: model("https://u:SECRET@h/m.tar")},
		{name: "bucket with a query", text: model("s3://gnomon-models/m.tar?X-Amz-Signature=SECRET")},
		{name: "registry with a token", text: model("oci://AWS:SECRET@registry/m:1"), leak: "parseOCI in models/artifact shows what is before the @"},
		{name: "digest that is a secret", text: `{"models":{"default":{"uri":"https://h/m.tar","sha256":"SECRET"}}}`},
		{name: "signature that is a secret", text: `{"models":{"default":{"uri":"https://h/m.tar","sha256":"` + sum + `","signature":"SECRET"}}}`},
		{name: "member that nobody knows", text: `{"models":{"default":{"uri":"https://h/m.tar","password":"SECRET"}}}`},
		{name: "model that is a text", text: `{"models":{"default":"https://h/m.tar?X-Amz-Signature=SECRET"}}`},
		{name: "password of a source", text: `{"sources":{"s0":{"password":"SECRET"}}}`},
		{name: "camera of a source", text: `{"sources":{"s0":{"uri":"rtsp://u:SECRET@h"}}}`},
		{name: "camera as a slot", text: `{"sources":{"s0":{"slot":"rtsp://u:SECRET@h"}}}`, leak: "decideSettings in desired_sources.go shows it as it is"},
		{name: "camera as the name of a source", text: `{"sources":{"rtsp://u:SECRET@h":{"enabled":true}}}`, leak: "sourceReports in desired_sources.go reports it as it is"},
		{name: "camera in place of settings", text: `{"sources":{"s0":"rtsp://u:SECRET@h"}}`},
	}
}

// tap notes all that is published on some topics of devcloud.
func tap(t *testing.T, f *field, topics ...string) (text func() string) {
	t.Helper()
	files, err := f.cloud.AdminFiles()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, files.CAFile))
	var mu sync.Mutex
	var all strings.Builder
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(strings.Replace(f.cloud.MQTTURL(), "mqtts", "ssl", 1)).
		SetTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, RootCAs: roots}).
		SetClientID(files.Name + "-tap").SetAutoReconnect(false))
	if token := c.Connect(); !token.WaitTimeout(commandTimeout) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	for _, topic := range topics {
		token := c.Subscribe(topic, 1, func(_ mqtt.Client, m mqtt.Message) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(&all, "%s %s\n", m.Topic(), m.Payload())
		})
		if !token.WaitTimeout(commandTimeout) || token.Error() != nil {
			t.Fatal(topic, token.Error())
		}
	}
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

// An agent with cameras that refuse their passwords gets one desired document with a secret after the other. None is in
// what it writes, sends or reports.
func TestPlantedSecretsAtWork(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="camera"`)
		http.Error(w, "no: "+r.Header.Get("Authorization"), http.StatusUnauthorized)
	}))
	defer refusing.Close()
	cameras := []plant{
		{name: "RTSP", text: fmt.Sprintf("rtsp://admin:SECRET@127.0.0.1:%d/x", freePort(t))},
		{
			name: "RTSP with a parameter", text: fmt.Sprintf("rtsp://SECRET@127.0.0.1:%d/x?password=SECRET", freePort(t)),
			leak: "Redact in camera shows parameters, and so does Source.Redacted in config",
		},
		{name: "HTTP", text: "http://admin:SECRET@" + strings.TrimPrefix(refusing.URL, "http://") + "/video"},
		{name: "no such host", text: "rtsp://admin:SECRET%2F%40@none.invalid/x"},
		{name: "RTMP", text: fmt.Sprintf("rtmp://admin:SECRET@127.0.0.1:%d/x", freePort(t))},
	}
	sources := paced(t, "testdata/pictures", "default")
	for i, p := range cameras {
		sources += fmt.Sprintf("  cam%d: {uri: %q}\n", i, p.with(secret("K", i)))
	}
	f := newField(t, sources, "", "")
	sent := tap(t, f, "dt/#", "$aws/things/"+demoThing+"/shadow/name/"+shadowName+"/update")
	var written bytes.Buffer
	c := command(t, "run", "--config", f.config)
	c.Stdout, c.Stderr = &written, &written
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	f.sees("s0", "yolov8")
	plants := inShadow()
	for i, p := range plants {
		f.desire(json.RawMessage(strings.ReplaceAll(p.with(secret("S", i)), "URL/", f.cloud.HTTPSURL()+"/")))
		f.until("a report about "+p.name, func() bool {
			d := f.told()
			return d.Models["default"].Error != nil || len(d.Sources) > 0 || d.Error != ""
		})
		f.desire(map[string]any{"models": nil, "sources": nil})
		f.until("no report any more", func() bool {
			d := f.told()
			return d.Models["default"].Error == nil && len(d.Sources) == 0 && d.Error == ""
		})
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	for i, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			p.leaked(t, "what the agent writes", written.String(), secret("S", i))
			p.leaked(t, "what the agent sends", sent(), secret("S", i))
		})
	}
	for i, p := range cameras {
		t.Run(p.name, func(t *testing.T) {
			if said := fmt.Sprintf("cam%d", i); !strings.Contains(written.String(), said) {
				t.Errorf("nothing is said about %s: the test shows nothing", said)
			}
			p.leaked(t, "what the agent writes", written.String(), secret("K", i))
			p.leaked(t, "what the agent sends", sent(), secret("K", i))
		})
	}
	if !strings.Contains(sent(), `"reported"`) || !strings.Contains(sent(), "/status ") || !strings.Contains(sent(), "/detections ") {
		t.Error("not all kinds of messages were seen")
	}
}

// inLogs are texts that errors and the system's logs have.
func inLogs() []plant {
	return []plant{
		{name: "key", text: strings.ReplaceAll(pemLines, "      ", "")},
		{name: "header", text: "GET /x: Authorization: Basic SECRETdXNlcg=="},
		{name: "session token", text: "AWS_SESSION_TOKEN=IQoJb3JpZ2luSECRET"},
		{name: "JSON in JSON", text: `{"msg":"{\"password\":\"SECRET\"}"}`},
		{name: "web token", text: "got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJTECRET0.SECRETSECRET"},
		{name: "flag", text: "COMMAND=/usr/bin/mosquitto_sub --password SECRET -t x"},
		{name: "known password in a sentence", text: "the camera does not take SECRET as its password"},
	}
}

// All fifty get neither into the log on standard error nor into the messages with log lines, in messages, fields, errors
// and panics.
func TestPlantedSecretsInLogs(t *testing.T) {
	plants := append(append(inConfig(), inShadow()...), inLogs()...)
	if len(plants) < 50 {
		t.Fatalf("%d are not fifty", len(plants))
	}
	known := redact.New()
	var written bytes.Buffer
	var sent strings.Builder
	ship, err := logs.New(logs.Options{Device: "thing-1", BootID: "b", Rate: 1e6, Redactor: known, Publish: func(p []byte) error {
		_, err := sent.Write(p)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	stderr := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&written), zap.DebugLevel)
	log := zap.New(zapcore.NewTee(logs.Redacting(stderr, known), ship.Core()), zap.AddStacktrace(zap.ErrorLevel))
	for i, p := range plants {
		s := secret("L", i)
		if p.name == "known password in a sentence" || strings.HasPrefix(p.name, "digest") || strings.HasPrefix(p.name, "signature that") || strings.HasPrefix(p.name, "registry") {
			known.Add(s) // nothing about its form tells that it is one
		}
		text := p.with(s)
		err := fmt.Errorf("try again: %w", errors.Join(errors.New(text), errors.New("and more")))
		log.Info(text)
		log.With(zap.String("text", text)).Warn("with", zap.Error(err), zap.Strings("list", []string{text}), zap.Any("any", map[string]any{"x": text}), zap.ByteString("bytes", []byte(text)))
		func() {
			defer func() { log.Error("a panic", zap.Any("panic", recover()), zap.Stack("at")) }()
			log.Panic(text, zap.NamedError("cause", err))
		}()
		func() {
			defer func() { log.Error("another panic: " + fmt.Sprint(recover())) }()
			panic(err)
		}()
	}
	agent := inBackground(ship.Run)
	if err := agent.stop(); err != nil {
		t.Fatal(err)
	}
	for i, p := range plants {
		p.leak = "" // what is known to get out into an answer must not get into a log
		p.leaked(t, "standard error", written.String(), secret("L", i))
		p.leaked(t, "the messages", sent.String(), secret("L", i))
	}
	if n := ship.Stats(); n.Sent < uint64(5*len(plants)) || strings.Count(written.String(), redact.Mark) < 5*len(plants) {
		t.Errorf("%+v: the test shows nothing", n)
	}
}
