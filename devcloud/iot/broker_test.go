package iot

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"gnomon/devcloud/pki"
)

func TestConnect(t *testing.T) {
	x := start(t, nil, nil)
	for _, test := range []struct {
		cert, id string
		code     byte
	}{
		{"cam", "cam", 0},
		{"cam", "cam2", 7}, // the policy has ${iot:Connection.Thing.ThingName}
		{"cam", "", 7},
		{"cam", strings.Repeat("x", 129), 2},
		{pki.Admin, pki.Admin + "-watch", 0},
		{pki.Admin, "cam", 7},
	} {
		c := x.dial(test.cert)
		c.send(connect(test.id, 2, 60, "", nil))
		c.want(0x20, 0, test.code)
		if test.code != 0 {
			c.closed()
		}
	}
}

func TestCertificates(t *testing.T) {
	x := start(t, nil, nil)
	live := x.connect("gone")
	files, err := x.pki.AddThing("gone")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.pki.RemoveThing("gone"); err != nil {
		t.Fatal(err)
	}
	x.b.Disconnect("gone")
	live.closed()
	other, err := pki.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if files, err = other.AddThing("cam"); err != nil {
		t.Fatal(err)
	}
	foreign, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, certs := range map[string][]tls.Certificate{"none": nil, "removed": {cert}, "another authority's": {foreign}} {
		c := x.dialWith(certs...)
		if _, _, err := c.read(); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := x.pki.AddThing("gone"); err != nil { // with another key
		t.Fatal(err)
	}
	c := x.dialWith(cert)
	if _, _, err := c.read(); err == nil {
		t.Error("the old certificate of a thing made again is accepted")
	}
}

func TestQoS2IsNotAnswered(t *testing.T) {
	x := start(t, nil, nil)
	c := x.connect("cam")
	c.send(subscribe(1, "dt/gnomon/cam/#"))
	c.want(0x90, 0, 9, 1)
	c.send(publish("dt/gnomon/cam/a", 2, 5, "x"), subscribe(2, "dt/gnomon/cam/b"), packet(0x62, []byte{0, 5}))
	c.want(0x70, 0, 5) // a PUBREL out of the blue is completed, as MQTT wants
	c.alive()
}

// TestPublish: what is sent is acknowledged, or the connection is closed.
func TestPublish(t *testing.T) {
	x := start(t, nil, nil)
	own := "dt/gnomon/cam/"
	for _, test := range []struct {
		name, topic string
		size        int
		retain, ok  bool
	}{
		{"own topic", own + "a", 1, false, true},
		{"retained", own + "a", 1, true, true},
		{"another's topic", "dt/gnomon/cam2/a", 1, false, false},
		{"payload of 128 KB", own + "a", 128 << 10, false, true},
		{"payload above", own + "a", 128<<10 + 1, false, false},
		{"packet far above", own + "a", 1 << 20, false, false},
		{"topic of 256 bytes", own + strings.Repeat("x", 256-len(own)), 1, false, true},
		{"topic above", own + strings.Repeat("x", 257-len(own)), 1, false, false},
		{"7 slashes", own + "1/2/3/4/5", 1, false, true},
		{"8 slashes", own + "1/2/3/4/5/6", 1, false, false},
		{"Basic Ingest", "$aws/rules/rule/" + own + "1/2/3/4/5", 1, false, true},
		{"Basic Ingest retained", "$aws/rules/rule/" + own + "1", 1, true, false},
		{"Basic Ingest without a rule", "$aws/rules/" + own, 1, false, false},
		{"shadow request", "$aws/things/cam/shadow/get", 1, false, true},
		{"named shadow request", "$aws/things/cam/shadow/name/n/update", 1, false, true},
		{"another's shadow", "$aws/things/cam2/shadow/get", 1, false, false},
		{"answer of the shadow service", "$aws/things/cam/shadow/get/accepted", 1, false, false},
		{"delta", "$aws/things/cam/shadow/name/n/update/delta", 1, false, false},
		{"retained shadow request", "$aws/things/cam/shadow/get", 1, true, false},
		{"presence", "$aws/events/presence/connected/cam", 1, false, false},
		{"other reserved topic", "$mine/a", 1, false, false},
		{"wildcard", own + "#", 1, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			x.clk.advance(time.Second)
			c := x.connect("cam")
			c.t = t
			p := publish(test.topic, 1, 7, strings.Repeat("x", test.size))
			if test.retain {
				p[0] |= 1
			}
			_, _ = c.c.Write(p) // may be cut off in the middle
			if test.ok {
				c.want(0x40, 0, 7)
				c.alive()
			} else {
				c.closed()
			}
		})
	}
}

func TestSubscribe(t *testing.T) {
	x := start(t, nil, nil)
	c := x.connect("cam")
	own := "dt/gnomon/cam/"
	for _, test := range []struct {
		filter string
		code   byte
	}{
		{own + "#", 1},
		{own + "a", 1},
		{"$aws/things/cam/shadow/name/n/update/accepted", 1},
		{"#", 0x80},
		{"+/gnomon/cam/a", 0x80},
		{"dt/gnomon/cam2/#", 0x80},
		{"$SYS/#", 0x80},
		{"$aws/rules/#", 0x80},
		{"$aws/events/presence/#", 0x80},
		{own + "1/2/3/4/5/6", 0x80},
		{own + strings.Repeat("x", 256), 0x80},
		{own + "#/x", 0x80},
	} {
		c.send(subscribe(1, test.filter))
		if first, body, err := c.read(); err != nil || first != 0x90 || body[2] != test.code {
			t.Errorf("%s: %#x %v, %v; want %#x", test.filter, first, body, err, test.code)
		}
	}
	c.send(subscribe(1, own+"x", "dt/gnomon/cam2/x")) // each has its own answer
	c.want(0x90, 0, 9, 1, 0x80)
	filters := []string{}
	for i := range 9 {
		filters = append(filters, fmt.Sprint(own, i))
	}
	c.send(subscribe(1, filters[:8]...))
	c.want(0x90, 0, 9, 1, 1, 1, 1, 1, 1, 1, 1)
	c.send(subscribe(1, filters...))
	c.closed()
}

func TestSubscriptionsPerConnection(t *testing.T) {
	x := start(t, nil, nil)
	c := x.connect("cam")
	for i := range 50 {
		c.send(subscribe(0, fmt.Sprint("dt/gnomon/cam/", i)))
		c.want(0x90, 0, 9, 0)
	}
	c.send(subscribe(0, "dt/gnomon/cam/1", "dt/gnomon/cam2/x")) // one that is there, one that is refused
	c.want(0x90, 0, 9, 0, 0x80)
	c.send(packet(0xa2, []byte{0, 4}, text("dt/gnomon/cam/1")))
	c.want(0xb0, 0, 4)
	c.send(subscribe(0, "dt/gnomon/cam/new"))
	c.want(0x90, 0, 9, 0)
	c.send(subscribe(0, "dt/gnomon/cam/51"))
	c.closed()
}

// TestReceive: a policy may allow to subscribe and not to receive; then the subscription is granted and silent.
func TestReceive(t *testing.T) {
	x := start(t, document(`[{"Effect":"Allow","Action":"iot:*","Resource":"*"},
		{"Effect":"Deny","Action":"iot:Receive","Resource":"*topic/secret*"}]`), nil)
	c := x.connect("cam")
	c.send(subscribe(1, "secret", "#"))
	c.want(0x90, 0, 9, 1, 1)
	admin := x.connect(pki.Admin)
	admin.send(publish("secret", 0, 0, "1"), publish("secret/2", 0, 0, "2"), publish("open", 0, 0, "3"))
	c.wantMessage("open 3")
	c.send(packet(0xa2, []byte{0, 4}, text("secret")))
	c.want(0xb0, 0, 4)
	if n := x.b.conns["cam"]; n == nil {
		t.Error("the connection is gone")
	}
	admin.send(subscribe(0, "#", "$aws/rules/#"))
	admin.want(0x90, 0, 9, 0, 0)
	c.send(publish("$aws/rules/r/t", 1, 1, "x"))
	c.want(0x40, 0, 1)
	admin.wantMessage("$aws/rules/r/t x")
}

func TestRetained(t *testing.T) {
	x := start(t, nil, nil)
	c := x.connect("cam")
	p := publish("dt/gnomon/cam/status", 1, 1, "on")
	p[0] |= 1
	c.send(p)
	c.want(0x40, 0, 1)
	c.send(subscribe(0, "dt/gnomon/cam/+"))
	c.want(0x90, 0, 9, 0)
	c.alive() // nothing came before
	c.send(subscribe(0, "dt/gnomon/cam/status"))
	c.want(0x90, 0, 9, 0)
	if m, _, first := c.message(); m != "dt/gnomon/cam/status on" || first&1 == 0 {
		t.Errorf("got %q, %#x", m, first)
	}
}

// TestShadowRequests: the request gets to the service after its PUBACK, and the answer back.
func TestShadowRequests(t *testing.T) {
	var x *bench
	x = start(t, nil, func(o *Options) {
		o.Shadow = func(topic string, payload []byte) {
			if err := x.b.Publish(topic+"/accepted", append([]byte("to "), payload...)); err != nil {
				t.Error(err)
			}
		}
	})
	c := x.connect("cam")
	c.send(subscribe(1, "$aws/things/cam/shadow/get/accepted"))
	c.want(0x90, 0, 9, 1)
	c.send(publish("$aws/things/cam/shadow/get", 1, 3, "me"))
	c.want(0x40, 0, 3)
	c.wantMessage("$aws/things/cam/shadow/get/accepted to me")
}

func TestWill(t *testing.T) {
	for _, test := range []struct {
		topic string
		heard bool
	}{
		{"dt/gnomon/cam/status", true},
		{"$aws/things/cam/shadow/update", false},
		{"dt/gnomon/cam2/status", false},
	} {
		x := start(t, nil, func(o *Options) {
			o.Shadow = func(string, []byte) { t.Error("a will has reached a shadow") }
		})
		admin := x.connect(pki.Admin)
		admin.send(subscribe(0, "#", "$aws/things/#", "$aws/events/#"))
		admin.want(0x90, 0, 9, 0, 0, 0)
		c := x.dial("cam")
		c.send(connect("cam", 2, 60, test.topic, []byte("gone")))
		c.want(0x20, 0, 0)
		_, _, _ = admin.message() // connected
		_ = c.c.Close()
		m, _, _ := admin.message()
		if heard := m == test.topic+" gone"; heard != test.heard {
			t.Errorf("will on %s: %q", test.topic, m)
		}
	}
}
