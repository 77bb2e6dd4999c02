package telemetry_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"gnomon/telemetry"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	ca := newPKI(t, "Test CA")
	cert, key := ca.now(t, "client", "thing-1")
	_, otherKey := ca.now(t, "other", "thing-2")
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(ca.dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return path
	}
	keyText, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	openKey := file("open.key", string(keyText), 0o644)
	groupKey := file("group.key", string(keyText), 0o640)
	openPassword := file("open.txt", "secret", 0o604)
	emptyPassword := file("empty.txt", "\nsecret", 0o600)
	nothing := file("nothing", "", 0o600)
	nonsense := file("nonsense.pem", "nonsense", 0o600)
	large := file("large", strings.Repeat("x", 1<<20+1), 0o600)
	pipe := filepath.Join(ca.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(ca.dir, "missing")

	secure := func(f func(o *telemetry.Options)) func(o *telemetry.Options) {
		return func(o *telemetry.Options) {
			o.Broker, o.CAFile = "mqtts://broker.example.com", ca.caFile
			f(o)
		}
	}
	tests := []struct {
		name string
		set  func(o *telemetry.Options)
		want string // "": no error
	}{
		{"defaults", func(o *telemetry.Options) {}, ""},
		{"tcp", func(o *telemetry.Options) { o.Broker = "tcp://h:1" }, ""},
		{"ssl", func(o *telemetry.Options) { o.Broker = "SSL://h" }, ""},
		{"IPv6", func(o *telemetry.Options) { o.Broker = "tls://[::1]:8883/" }, ""},
		{"no broker", func(o *telemetry.Options) { o.Broker = "" }, "URL is empty; write for example mqtts://"},
		{"no scheme", func(o *telemetry.Options) { o.Broker = "broker:1883" }, "begins with neither mqtt:// nor mqtts://"},
		{"address only", func(o *telemetry.Options) { o.Broker = "127.0.0.1:1883" }, "can't be read"},
		{"other scheme", func(o *telemetry.Options) { o.Broker = "ws://h" }, "begins with neither"},
		{"no host", func(o *telemetry.Options) { o.Broker = "mqtt://:1883" }, "names no host"},
		{"path", func(o *telemetry.Options) { o.Broker = "mqtt://h:1/x" }, "something behind the port"},
		{"query", func(o *telemetry.Options) { o.Broker = "mqtt://h:1?x=1" }, "something behind the port"},
		{"port 0", func(o *telemetry.Options) { o.Broker = "mqtt://h:0" }, "a port is a number between 1 and 65535"},
		{"port too high", func(o *telemetry.Options) { o.Broker = "mqtt://h:65536" }, "a port is a number between 1 and 65535"},
		{"port not a number", func(o *telemetry.Options) { o.Broker = "mqtt://h:mqtt" }, "can't be read"},
		{"user in the URL", func(o *telemetry.Options) { o.Broker = "mqtt://me:hunter2@h" }, "mqtt://me:xxxxx@h has a user name in it; set username and password_file"},
		{"no thing", func(o *telemetry.Options) { o.Thing = "" }, "name of the thing is empty"},
		{"thing with slash", func(o *telemetry.Options) { o.Thing = "a/b" }, "has a slash"},
		{"prefix with wildcard", func(o *telemetry.Options) { o.TopicPrefix = "dt/#" }, "wildcard '#'"},
		{"prefix of a rule", func(o *telemetry.Options) { o.TopicPrefix = "$aws/rules/r/dt" }, "brokers retain no message"},
		{"long client id", func(o *telemetry.Options) { o.ClientID = strings.Repeat("x", 129) }, "has 129 bytes; at most 128"},
		{"client id with NUL", func(o *telemetry.Options) { o.ClientID = "a\x00" }, "client id"},
		{"no boot id", func(o *telemetry.Options) { o.BootID = "" }, "boot id must have between 1 and 72 bytes"},
		{"QoS 2", func(o *telemetry.Options) { o.QoS = 2 }, "qos is 2; use 1, at least once, or 0"},
		{"keep-alive of 1.5 s", func(o *telemetry.Options) { o.KeepAlive = 1500 * time.Millisecond }, "keep_alive is 1.5s; use whole seconds between 1s and 20m0s"},
		{"keep-alive of 1201 s", func(o *telemetry.Options) { o.KeepAlive = 1201 * time.Second }, "keep_alive is 20m1s"},
		{"keep-alive below 0", func(o *telemetry.Options) { o.KeepAlive = -time.Second }, "keep_alive is -1s"},
		{"outbox of -1", func(o *telemetry.Options) { o.Outbox = -1 }, "outbox is -1 messages; use a number between 1 and 1000000"},
		{"outbox too large", func(o *telemetry.Options) { o.Outbox = 1_000_001 }, "outbox is 1000001 messages"},
		{"password without user", func(o *telemetry.Options) { o.PasswordFile = key }, "password_file is set but username is not"},
		{"user without password", func(o *telemetry.Options) { o.Username = "me" }, ""},
		{"no password file", func(o *telemetry.Options) { o.Username, o.PasswordFile = "me", missing }, "read password_file: stat " + missing},
		{
			"open password file", func(o *telemetry.Options) { o.Username, o.PasswordFile = "me", openPassword },
			"password_file " + openPassword + " is open to others than its owner (mode 0604): run chmod 600 " + openPassword,
		},
		{"empty password", func(o *telemetry.Options) { o.Username, o.PasswordFile = "me", emptyPassword }, "has an empty first line"},
		{"empty password file", func(o *telemetry.Options) { o.Username, o.PasswordFile = "me", nothing }, "is empty"},
		{"large password file", func(o *telemetry.Options) { o.Username, o.PasswordFile = "me", large }, "larger than 1048576 bytes"},
		{"pipe as password file", func(o *telemetry.Options) { o.Username, o.PasswordFile = "me", pipe }, "is not a regular file"},
		{"certificates without TLS", func(o *telemetry.Options) { o.CAFile = ca.caFile }, "is a connection without TLS; write mqtts://"},
		{"TLS", secure(func(o *telemetry.Options) { o.CertFile, o.KeyFile = cert, key }), ""},
		{"key for the group", secure(func(o *telemetry.Options) { o.CertFile, o.KeyFile = cert, groupKey }), "key_file " + groupKey + " is open to others than its owner (mode 0640): run chmod 600 " + groupKey},
		{
			"key for everybody", secure(func(o *telemetry.Options) { o.CertFile, o.KeyFile = cert, openKey }),
			"key_file " + openKey + " is open to others than its owner (mode 0644): run chmod 600 " + openKey,
		},
		{"no CA file", secure(func(o *telemetry.Options) { o.CAFile = missing }), "read ca_file: stat " + missing},
		{"CA is a folder", secure(func(o *telemetry.Options) { o.CAFile = ca.dir }), "is not a regular file"},
		{"CA is nonsense", secure(func(o *telemetry.Options) { o.CAFile = nonsense }), "has no certificate in it; it must be PEM"},
		{"certificate without key", secure(func(o *telemetry.Options) { o.CertFile = cert }), "key_file is not; set both or neither"},
		{"key without certificate", secure(func(o *telemetry.Options) { o.KeyFile = key }), "cert_file is not; set both or neither"},
		{"key of another", secure(func(o *telemetry.Options) { o.CertFile, o.KeyFile = cert, otherKey }), "don't make a pair: tls: private key does not match public key"},
		{"certificate is nonsense", secure(func(o *telemetry.Options) { o.CertFile, o.KeyFile = nonsense, key }), "don't make a pair"},
		{"no key file", secure(func(o *telemetry.Options) { o.CertFile, o.KeyFile = cert, missing }), "read key_file: stat " + missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options("mqtt://127.0.0.1")
			tt.set(&o)
			c, err := telemetry.New(o)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("unexpected error: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "MQTT: ")):
				t.Errorf("error %v\nwant %q", err, tt.want)
			case err != nil && strings.Contains(err.Error(), "hunter2"):
				t.Errorf("the error gives the password away: %v", err)
			case (c == nil) != (err != nil):
				t.Errorf("client %v with error %v", c, err)
			}
		})
	}
}

func TestBrokerURLs(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"tcp://h":               "mqtt://h:1883",
		"mqtt://h:1884":         "mqtt://h:1884",
		"ssl://broker.example/": "mqtts://broker.example:8883",
		"tls://[::1]":           "mqtts://[::1]:8883",
		"mqtts://h:443":         "mqtts://h:443",
	} {
		c, err := telemetry.New(options(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got := c.Stats().Broker; got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
}

// TestConnect checks what CONNECT and the TLS handshake carry.
func TestConnect(t *testing.T) {
	t.Parallel()
	ca := newPKI(t, "Test CA")
	cert, key := ca.now(t, "client", "thing-1")
	secret := filepath.Join(ca.dir, "password")
	if err := os.WriteFile(secret, []byte("pässword \r\nignored\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := ca.serverConfig(t, "localhost")
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.ClientCAs = x509.NewCertPool()
	cfg.ClientCAs.AddCert(ca.ca)
	type seen struct {
		connect  string
		password string
		state    tls.ConnectionState
	}
	got := make(chan seen, 1)
	f := newFake(t, func(_ int, c *peer) {
		conn := tls.Server(c.Conn, cfg)
		c.Conn = conn
		pk, ok := c.read().(*packets.ConnectPacket)
		if !ok {
			return
		}
		got <- seen{pk.String(), string(pk.Password), conn.ConnectionState()}
		_, _ = c.Write([]byte{0x20, 2, 0, 0})
		c.serve(&recorder{})
	})
	o := options(strings.Replace(f.url(), "mqtt://127.0.0.1", "mqtts://localhost", 1))
	o.CAFile, o.CertFile, o.KeyFile = ca.caFile, cert, key
	o.ClientID, o.Username, o.PasswordFile, o.KeepAlive = "id-1", "me", secret, 77*time.Second
	a := start(t, o)
	a.waitConnected(t)
	s := <-got
	for _, want := range []string{
		"protocolversion: 4", "protocolname: MQTT", "cleansession: true", "willflag: true", "WillQos: 1", "WillRetain: true",
		"Usernameflag: true", "Passwordflag: true", "keepalive: 77", "clientId: id-1", "willtopic: " + statusTopic,
		"Username: me",
	} {
		if !strings.Contains(strings.ToLower(s.connect), strings.ToLower(want)) {
			t.Errorf("CONNECT lacks %q: %s", want, s.connect)
		}
	}
	if s.password != "pässword " {
		t.Errorf("the password is %q, want the first line of the file without its end", s.password)
	}
	if s.state.ServerName != "localhost" || s.state.Version < tls.VersionTLS12 || len(s.state.PeerCertificates) != 1 {
		t.Errorf("TLS: name %q, version %x, %d certificates", s.state.ServerName, s.state.Version, len(s.state.PeerCertificates))
	}
	a.stop(t)
	if strings.Contains(a.log(), "pässword") {
		t.Errorf("the log has the password in it:%s", a.log())
	}
}
