package aws

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"

	"gnomon/devcloud"
)

// patience is for the broker, which is in this process.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startCloud runs devcloud with the policies and the provisioning templates of gnomon.yaml.
func startCloud(t *testing.T) *devcloud.Cloud {
	t.Helper()
	s := openStack(t, nil)
	c, err := devcloud.NewCloud(devcloud.CloudOptions{
		Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0", Region: region, Account: account,
		Policy: s.document("DevicePolicy", "PolicyDocument"), ClaimPolicy: s.document("ClaimPolicy", "PolicyDocument"),
		Templates: map[string][]byte{
			s.ref("FleetTemplate").(string):  s.document("FleetTemplate", "TemplateBody"),
			s.ref("RotateTemplate").(string): s.document("RotateTemplate", "TemplateBody"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return c
}

// client is an MQTT client with a thing's certificate.
type client struct {
	mqtt.Client
	t    *testing.T
	lost chan struct{}     // closed when the broker ends the connection
	got  chan mqtt.Message // what nobody has asked for by a filter of its own comes here too
}

func clientTLS(t *testing.T, files devcloud.Thing) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(files.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots}
}

func addThing(t *testing.T, c *devcloud.Cloud, name string) devcloud.Thing {
	t.Helper()
	files, err := c.AddThing(name)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// connect makes a connection with a certificate and a client id.
func connect(t *testing.T, c *devcloud.Cloud, files devcloud.Thing, id string) *client {
	t.Helper()
	x := &client{t: t, lost: make(chan struct{}), got: make(chan mqtt.Message, 16)}
	o := mqtt.NewClientOptions().AddBroker(c.MQTTURL()).SetClientID(id).SetProtocolVersion(4).SetAutoReconnect(false)
	o.SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond) // a client id may connect once a second
	o.SetTLSConfig(clientTLS(t, files))
	o.SetConnectionLostHandler(func(mqtt.Client, error) { close(x.lost) })
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { x.got <- m })
	x.Client = mqtt.NewClient(o)
	t.Cleanup(func() { x.Disconnect(0) })
	if token := x.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("%s does not get in: %v", id, token.Error())
	}
	return x
}

// refused reports whether the broker answers a CONNECT as AWS answers who may not. paho takes that answer, 7, for none.
func refused(t *testing.T, c *devcloud.Cloud, files devcloud.Thing, id string) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(c.MQTTURL(), "mqtts://"), clientTLS(t, files))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.CleanSession, hello.Keepalive, hello.ClientIdentifier = "MQTT", 4, true, 60, id
	if err := hello.Write(conn); err != nil {
		t.Fatal(err)
	}
	answer, err := packets.ReadPacket(conn)
	if err != nil {
		t.Fatal(err)
	}
	connack, ok := answer.(*packets.ConnackPacket)
	return ok && connack.ReturnCode == 7
}

// subscribe reports whether the broker grants a filter.
func (x *client) subscribe(filter string) bool {
	x.t.Helper()
	token := x.Subscribe(filter, 1, nil).(*mqtt.SubscribeToken)
	if !token.WaitTimeout(patience) {
		x.t.Fatalf("no answer to the subscription of %s", filter)
	}
	granted := len(token.Result()) == 1
	for _, code := range token.Result() { // paho leaves out the beginning of a shared filter
		granted = granted && code <= 1
	}
	return granted
}

// publish reports whether the broker acknowledges a message; where it does not, it ends the connection.
func (x *client) publish(topic string, retain bool, payload string) bool {
	x.t.Helper()
	token := x.Publish(topic, 1, retain, payload)
	select {
	case <-token.Done():
		return token.Error() == nil
	case <-x.lost:
		return false
	case <-time.After(patience):
		x.t.Fatalf("nothing became of a message to %s", topic)
		return false
	}
}

// TestBrokerDevices: under the template's policy, devcloud's broker keeps two devices apart.
func TestBrokerDevices(t *testing.T) {
	c := startCloud(t)
	if !refused(t, c, addThing(t, c, "gnomon-a"), "gnomon-b") {
		t.Error("gnomon-a connects as gnomon-b")
	}
	b := connect(t, c, addThing(t, c, "gnomon-b"), "gnomon-b")
	const shadow = "$aws/things/gnomon-b/shadow/name/gnomon/"
	for _, answer := range []string{"get/accepted", "get/rejected", "update/accepted", "update/rejected", "update/delta", "delete/accepted"} {
		if !b.subscribe(shadow + answer) {
			t.Errorf("gnomon-b may not hear %s", answer)
		}
	}
	for _, topic := range []string{
		"dt/gnomon/gnomon-b/street/detections", "dt/gnomon/gnomon-b/events", "dt/gnomon/gnomon-b/metrics", "dt/gnomon/gnomon-b/logs",
		"$aws/rules/gnomon_detections/dt/gnomon/gnomon-b/street/detections", "$aws/rules/gnomon_logs/dt/gnomon/gnomon-b/logs",
	} {
		if !b.publish(topic, false, `{"seq":1}`) {
			t.Fatalf("gnomon-b may not publish to %s", topic)
		}
	}
	if !b.publish("dt/gnomon/gnomon-b/status", true, `{"online":true}`) {
		t.Fatal("gnomon-b may not say how it is")
	}

	a := connect(t, c, addThing(t, c, "gnomon-a"), "gnomon-a")
	for _, filter := range []string{
		"dt/gnomon/gnomon-b/status", "dt/gnomon/gnomon-b/#", "dt/gnomon/+/status", "dt/gnomon/#", "dt/#", "#",
		shadow + "update/accepted", "$aws/things/+/shadow/#", "$aws/things/gnomon-b/jobs/notify", "$aws/things/gnomon-b/jobs/#",
		"$aws/events/#", "$share/group/dt/gnomon/#",
	} {
		if a.subscribe(filter) {
			t.Errorf("gnomon-a may subscribe to %s", filter)
		}
	}
	// The answer comes to b alone, and a has heard nothing of all that.
	if !b.publish(shadow+"update", false, `{"state":{"reported":{"x":1}}}`) {
		t.Fatal("gnomon-b may not report")
	}
	select {
	case m := <-b.got:
		if m.Topic() != shadow+"update/accepted" {
			t.Errorf("gnomon-b got %s: %s", m.Topic(), m.Payload())
		}
	case <-time.After(patience):
		t.Error("the shadow does not answer gnomon-b")
	}
	select {
	case m := <-a.got:
		t.Errorf("gnomon-a heard %s: %s", m.Topic(), m.Payload())
	default:
	}
}

// TestBrokerForeignTopics: a message to what is another's ends the connection. Each case has a thing of its own,
// because a client id may connect once a second.
func TestBrokerForeignTopics(t *testing.T) {
	c := startCloud(t)
	if _, err := c.Shadows().Update("gnomon-b", "gnomon", []byte(`{"state":{"desired":{"x":1}}}`)); err != nil {
		t.Fatal(err)
	}
	for name, topic := range map[string]string{
		"gnomon-1": "dt/gnomon/gnomon-b/street/detections",
		"gnomon-2": "dt/gnomon/gnomon-b/status",
		"gnomon-3": "$aws/things/gnomon-b/shadow/name/gnomon/update",
		"gnomon-4": "$aws/things/gnomon-b/shadow/name/gnomon/delete",
		"gnomon-5": "$aws/things/gnomon-5/shadow/name/gnomon/update/accepted",
		"gnomon-6": "$aws/things/gnomon-b/jobs/1/update",
		"gnomon-7": "$aws/rules/gnomon_detections/dt/gnomon/gnomon-b/street/detections",
		"gnomon-8": "$aws/rules/another/dt/gnomon/gnomon-8/street/detections",
		"gnomon-9": "cmd/gnomon-b",
	} {
		if connect(t, c, addThing(t, c, name), name).publish(topic, false, `{"state":{"desired":{"x":2}}}`) {
			t.Errorf("%s may publish to %s", name, topic)
		}
	}
	if x := connect(t, c, addThing(t, c, "gnomon-r"), "gnomon-r"); x.publish("dt/gnomon/gnomon-r/street/detections", true, `{}`) {
		t.Error("a device may have the broker retain more than its status")
	}
	d, err := c.Shadows().Get("gnomon-b", "gnomon")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(d), `"x":1`) || strings.Contains(string(d), `"x":2`) {
		t.Errorf("the shadow of gnomon-b is now %s", d)
	}
}

// TestCredentialsByPolicy: the role alias of the template, and no other, can be had with a device's certificate.
func TestCredentialsByPolicy(t *testing.T) {
	s := openStack(t, nil)
	if got := s.properties("RoleAlias")["RoleAlias"]; got != devcloud.DefaultRoleAlias {
		t.Errorf("the role alias is %v, that of devcloud %s", got, devcloud.DefaultRoleAlias)
	}
	role := s.properties("RoleAlias")["RoleArn"]
	if role != s.attribute("DeviceRole", "Arn") {
		t.Errorf("the alias is of %v", role)
	}
	trust, err := json.Marshal(s.properties("DeviceRole")["AssumeRolePolicyDocument"])
	if err == nil && !strings.Contains(string(trust), `"credentials.iot.amazonaws.com"`) {
		err = errors.New("the credential provider may not take the role")
	}
	if err != nil {
		t.Error(err, string(trust))
	}
}
