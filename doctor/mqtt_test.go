package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"gnomon/cloud/keypair"
	"gnomon/devcloud"
)

// authority signs certificates into a folder of the test's own.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.file = filepath.Join(a.dir, "ca.pem")
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.sign(t, a.cert, a.file, "")
	return a
}

// sign makes a key and a certificate for it; the authority's own is its first.
func (a *authority) sign(t *testing.T, cert *x509.Certificate, certFile, keyFile string) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o600)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if keyFile != "" {
		write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})), 0o600)
	}
	return key
}

// issue makes a certificate for a host or a device.
func (a *authority) issue(t *testing.T, name string, from, until time.Time) keypair.Files {
	t.Helper()
	f := keypair.Files{CertFile: filepath.Join(a.dir, name+".pem"), KeyFile: filepath.Join(a.dir, name+".key")}
	cert := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until, DNSNames: []string{name}}
	if ip := net.ParseIP(name); ip != nil {
		cert.IPAddresses, cert.DNSNames = []net.IP{ip}, nil
	}
	a.sign(t, cert, f.CertFile, f.KeyFile)
	return f
}

// serve accepts connections until the test ends.
func serve(t *testing.T, cfg *tls.Config, do func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if cfg != nil {
				c = tls.Server(c, cfg)
			}
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			do(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// listens reads until the other side has enough, as a broker does that waits for CONNECT.
func listens(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func TestMQTT(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	now := time.Now()
	valid := func(a *authority, name string) keypair.Files {
		return a.issue(t, name, now.Add(-time.Hour), now.Add(time.Hour))
	}
	config := func(files keypair.Files, change func(*tls.Config)) *tls.Config {
		pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		cfg := &tls.Config{Certificates: []tls.Certificate{pair}}
		if change != nil {
			change(cfg)
		}
		return cfg
	}
	roots := x509.NewCertPool()
	pemData, err := keypair.Read("", ca.file)
	if err != nil || !roots.AppendCertsFromPEM(pemData) {
		t.Fatal(err)
	}
	wants := func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, roots }
	wants12 := func(c *tls.Config) { wants(c); c.MaxVersion = tls.VersionTLS12 }
	onlyWeb := func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }
	host := valid(ca, "127.0.0.1")
	good := serve(t, config(host, nil), listens)
	strict := serve(t, config(host, wants), listens)
	strict12 := serve(t, config(host, wants12), listens)
	web := serve(t, config(host, onlyWeb), listens)
	plain := serve(t, nil, listens)
	page := serve(t, nil, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 302 Found\r\n\r\n") })
	mute := serve(t, nil, func(c net.Conn) { time.Sleep(1500 * time.Millisecond) })
	nobody := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		return l.Addr().String()
	}()
	device, foreign := valid(ca, "camera-7"), valid(stranger, "camera-7")
	for name, c := range map[string]struct {
		o          MQTTOptions
		want       Status
		detail, do string
	}{
		"plain":             {MQTTOptions{Broker: "mqtt://" + plain}, OK, "not encrypted", ""},
		"tls":               {MQTTOptions{Broker: "mqtts://" + good, CAFile: ca.file}, OK, "TLS 1.3, its certificate is valid until", ""},
		"with certificate":  {MQTTOptions{Broker: "mqtts://" + strict, CAFile: ca.file, Files: device}, OK, "TLS 1.3", ""},
		"tls 1.2":           {MQTTOptions{Broker: "mqtts://" + strict12, CAFile: ca.file, Files: device}, OK, "TLS 1.2", ""},
		"foreign device":    {MQTTOptions{Broker: "mqtts://" + strict, CAFile: ca.file, Files: foreign}, Failed, "refuses the device's certificate", "active"},
		"foreign, tls 1.2":  {MQTTOptions{Broker: "mqtts://" + strict12, CAFile: ca.file, Files: foreign}, Failed, "refuses the device's certificate", "active"},
		"no certificate":    {MQTTOptions{Broker: "mqtts://" + strict, CAFile: ca.file}, Failed, "wants a certificate", "mqtt.cert_file"},
		"unknown authority": {MQTTOptions{Broker: "mqtts://" + good}, Failed, "nobody whom this device trusts", "mqtt.ca_file"},
		"other authority":   {MQTTOptions{Broker: "mqtts://" + good, CAFile: stranger.file}, Failed, "nobody whom this device trusts", stranger.file},
		"no authority":      {MQTTOptions{Broker: "mqtts://" + good, CAFile: device.KeyFile}, Failed, "has no certificate in it", "section mqtt"},
		"other name": {
			MQTTOptions{Broker: "mqtts://" + serve(t, config(valid(ca, "elsewhere"), nil), listens), CAFile: ca.file},
			Failed, "is for elsewhere, not for 127.0.0.1", "mqtt.broker",
		},
		"expired": {
			MQTTOptions{Broker: "mqtts://" + serve(t, config(ca.issue(t, "127.0.0.1", now.Add(-2*time.Hour), now.Add(-time.Hour)), nil), listens), CAFile: ca.file},
			Failed, "and the clock of this device says", "set the clock",
		},
		"no TLS there":     {MQTTOptions{Broker: "mqtts://" + page, CAFile: ca.file}, Failed, "does not speak TLS", "mqtt://"},
		"closes":           {MQTTOptions{Broker: "mqtts://" + serve(t, nil, func(net.Conn) {}), CAFile: ca.file}, Failed, "without a word", "port"},
		"refused":          {MQTTOptions{Broker: "mqtt://" + nobody}, Failed, "nothing listens there", "start the broker"},
		"no such host":     {MQTTOptions{Broker: "mqtt://gnomon.invalid:1883"}, Failed, "name", "mqtt.broker, or the DNS"},
		"no address":       {MQTTOptions{Broker: "mqtt://user:secret@host"}, Failed, "is no address", "mqtt.broker"},
		"both ways":        {MQTTOptions{Broker: "mqtts://" + good, CAFile: ca.file, second: strict, Files: device}, OK, "; port ", ""},
		"8883 is closed":   {MQTTOptions{Broker: "mqtts://" + nobody, CAFile: ca.file, second: good}, Warning, "not on port", "through; the agent takes the other way"},
		"443 is closed":    {MQTTOptions{Broker: "mqtts://" + good, CAFile: ca.file, second: nobody}, Warning, "not on port", "the other way"},
		"443 is for pages": {MQTTOptions{Broker: "mqtts://" + good, CAFile: ca.file, second: web}, Warning, "not on port", "the other way"},
		"both are closed":  {MQTTOptions{Broker: "mqtts://" + nobody, CAFile: ca.file, second: nobody}, Failed, "nothing listens there", "start the broker"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no such host" {
				f := MQTT(c.o).Run(t.Context()) // whether there is a name server to ask or not
				if f.Status != Failed {
					t.Errorf("%+v", f)
				}
				return
			}
			look(t, MQTT(c.o), c.want, c.detail, c.do)
		})
	}
	t.Run("mute", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if f := MQTT(MQTTOptions{Broker: "mqtts://" + mute}).Run(ctx); f.Status != Failed || f.Detail != mute+": it took the connection, and then did not answer" {
			t.Errorf("%+v", f)
		}
	})
}

func TestSecondWay(t *testing.T) {
	for broker, want := range map[string]bool{
		"mqtts://abc-ats.iot.eu-central-1.amazonaws.com:8883":     true,
		"mqtts://abc.ats.iot.cn-north-1.amazonaws.com.cn":         true,
		"mqtts://abc-ats.iot.eu-central-1.amazonaws.com:443":      false,
		"mqtt://abc-ats.iot.eu-central-1.amazonaws.com":           false,
		"mqtts://broker.example.com":                              false,
		"mqtts://abc-ats.iot.eu-central-1.amazonaws.com.evil.org": false,
	} {
		e, err := parseBroker(broker)
		if second, on := e.second(&MQTTOptions{}); err != nil || on != want || on && second.address() != e.host+":443" {
			t.Errorf("%s: %v, %v, %v", broker, second, on, err)
		}
	}
}

// TestConnectCodes: what a broker may answer.
func TestConnectCodes(t *testing.T) {
	answers := func(answer string) string {
		return serve(t, nil, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 256))
			_, _ = io.WriteString(c, answer)
			listens(c)
		})
	}
	for name, c := range map[string]struct {
		answer     string
		want       Status
		detail, do string
	}{
		"in":          {"\x20\x02\x00\x00", OK, `lets client id "camera-7" in`, ""},
		"old":         {"\x20\x02\x00\x01", Failed, "code 1", "MQTT 3.1.1"},
		"id":          {"\x20\x02\x00\x02", Failed, "code 2", "mqtt.client_id"},
		"unavailable": {"\x20\x02\x00\x03", Failed, "code 3", "later"},
		"password":    {"\x20\x02\x00\x04", Failed, "code 4", "mqtt.password_file"},
		"policy":      {"\x20\x02\x00\x05", Failed, "code 5", "iot:Connect"},
		"aws":         {"\x20\x02\x00\x07", Failed, "code 7", "iot:Connect"},
		"unknown":     {"\x20\x02\x00\x63", Failed, "code 99", "log"},
		"page":        {"HTTP/1.1 302 Found\r\n", Failed, "does not speak MQTT", "login page"},
	} {
		t.Run(name, func(t *testing.T) {
			look(t, Connect(MQTTOptions{Broker: "mqtt://" + answers(c.answer), ClientID: "camera-7"}), c.want, c.detail, c.do)
		})
	}
	password := write(t, filepath.Join(t.TempDir(), "password"), "\n", 0o600)
	look(t, Connect(MQTTOptions{Broker: "mqtt://127.0.0.1:1", PasswordFile: password}), Failed, "empty first line", "first line")
}

// TestConnectCloud: the way that AWS IoT takes, and what it refuses.
func TestConnectCloud(t *testing.T) {
	cloud, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	thing, err := cloud.AddThing("camera-7")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- cloud.Run(ctx) }()
	t.Cleanup(func() { cancel(); err := errors.Join(<-done, cloud.Close()); noError(t, err) })
	o := MQTTOptions{Broker: cloud.MQTTURL(), CAFile: thing.CAFile, Files: keypair.Files{CertFile: thing.CertFile, KeyFile: thing.KeyFile}, ClientID: "camera-7"}
	look(t, MQTT(o), OK, "TLS 1.3", "")
	look(t, Connect(o), OK, "camera-7", "")
	o.ClientID = "camera-8"
	if f := Connect(o).Run(t.Context()); f.Status != Failed {
		t.Errorf("with another's client id: %+v", f)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
