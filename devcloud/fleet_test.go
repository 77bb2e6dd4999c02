package devcloud_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gnomon/cloud/keypair"
	"gnomon/cloud/link"
	"gnomon/cloud/provision"
	"gnomon/devcloud"
)

func (a *account) link(thing devcloud.Thing, id string) *link.Conn {
	a.t.Helper()
	c, err := link.Dial(a.t.Context(), link.Options{
		Broker: a.MQTTURL(), ClientID: id, CAFile: a.CAFile(), Files: keypair.Files{CertFile: thing.CertFile, KeyFile: thing.KeyFile},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = c.Close() })
	return c
}

// request makes a key and a signing request.
func request(t *testing.T) (key, csr []byte) {
	t.Helper()
	key, err := keypair.NewKey()
	if err == nil {
		csr, err = keypair.Request(key, "devcloud-admin") // a name that must not help
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, csr
}

// TestFleet: a claim gets a certificate and a thing, and nobody else hears of it.
func TestFleet(t *testing.T) {
	dir := t.TempDir()
	a := startCloud(t, devcloud.CloudOptions{Dir: dir})
	claim, err := a.AddClaim("factory")
	if err != nil {
		t.Fatal(err)
	}
	c, spy := a.link(claim, "claim-1"), a.link(claim, "claim-2")
	heard := make(chan string, 10)
	for _, topic := range []string{"$aws/certificates/create-from-csr/json", "$aws/provisioning-templates/gnomon-fleet/provision/json"} {
		if err := spy.Subscribe(t.Context(), []string{topic + "/accepted", topic + "/rejected"}, func(topic string, _ []byte) { heard <- topic }); err != nil {
			t.Fatal(err)
		}
	}
	key, csr := request(t)
	issued, err := provision.Request(t.Context(), c, csr)
	if err != nil {
		t.Fatal(err)
	}
	files := provision.Files(t.TempDir())
	if err := errors.Join(keypair.Replace(files.KeyFile, key), keypair.Replace(files.CertFile, []byte(issued.PEM))); err != nil {
		t.Fatal(err)
	}
	thing := devcloud.Thing{Name: "gnomon-7", CertFile: files.CertFile, KeyFile: files.KeyFile, CAFile: a.CAFile()}
	dial := func() error {
		c, err := link.Dial(t.Context(), link.Options{Broker: a.MQTTURL(), ClientID: "gnomon-7", CAFile: a.CAFile(), Files: files})
		if err == nil {
			err = c.Close()
		}
		return err
	}
	if err := dial(); err == nil {
		t.Error("a certificate that nobody has claimed is let in")
	}
	got, err := provision.Register(t.Context(), c, devcloud.FleetTemplate, issued.Token, map[string]string{"SerialNumber": "7", "AWS::IoT::Certificate::Id": "x"})
	if err != nil || got.Thing != "gnomon-7" {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := dial(); err != nil {
		t.Error(err)
	}
	if _, err := a.credentials(thing, devcloud.DefaultRoleAlias).Retrieve(t.Context()); err != nil {
		t.Errorf("AWS credentials: %v", err)
	}
	if _, err := provision.Register(t.Context(), c, devcloud.FleetTemplate, issued.Token, map[string]string{"SerialNumber": "8"}); err == nil || !strings.Contains(err.Error(), "InvalidCertificateOwnershipToken") {
		t.Errorf("the token a second time: %v", err)
	}
	if _, err := provision.Request(t.Context(), c, []byte("?")); err == nil || !strings.Contains(err.Error(), "InvalidCertificateSigningRequest") {
		t.Errorf("no request: %v", err)
	}
	// By now all answers have been sent, and messages of a connection keep their order.
	if err := spy.Publish(t.Context(), "$aws/certificates/create-from-csr/json", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if topic := <-heard; topic != "$aws/certificates/create-from-csr/json/rejected" || len(heard) > 0 {
		t.Errorf("another client heard %s and %d more", topic, len(heard))
	}
	if err := c.Publish(t.Context(), "dt/gnomon/gnomon-7/status", nil); err == nil {
		t.Error("a claim may publish a device's messages")
	}

	a.stop()
	a = startCloud(t, devcloud.CloudOptions{Dir: dir})
	if err := dial(); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if things, err := a.Things(); err != nil || fmt.Sprint(things) != "[gnomon-7]" {
		t.Errorf("things %v, %v", things, err)
	}
	if err := a.RemoveThing("gnomon-7"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // a client id connects once a second
	if e, ok := errors.AsType[*link.Error](dial()); !ok || e.Kind != link.Refused {
		t.Errorf("a removed thing: %v", e)
	}
}

// TestOwnPolicy: a template may give a certificate another policy, or none.
func TestOwnPolicy(t *testing.T) {
	const template = `{"Parameters":{},"Resources":{"t":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":"%s"}},
		"c":{"Type":"AWS::IoT::Certificate","Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"}}}%s}}`
	const connectOnly = `,"p":{"Type":"AWS::IoT::Policy","Properties":{"PolicyDocument":{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Connect","Resource":"*"}}}}`
	a := startCloud(t, devcloud.CloudOptions{
		Templates:   map[string][]byte{devcloud.FleetTemplate: fmt.Appendf(nil, template, "bare", ""), "own": fmt.Appendf(nil, template, "own", connectOnly)},
		ClaimPolicy: []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}`),
	})
	claim, err := a.AddClaim("factory")
	if err != nil {
		t.Fatal(err)
	}
	c := a.link(claim, "claim")
	for name, template := range map[string]string{"bare": devcloud.FleetTemplate, "own": "own"} {
		key, csr := request(t)
		cert, err := provision.Order(t.Context(), c, template, name, nil, csr)
		if err != nil {
			t.Fatal(err)
		}
		files := provision.Files(t.TempDir())
		if err := errors.Join(keypair.Replace(files.KeyFile, key), keypair.Replace(files.CertFile, cert)); err != nil {
			t.Fatal(err)
		}
		c, err := link.Dial(t.Context(), link.Options{Broker: a.MQTTURL(), ClientID: name, CAFile: a.CAFile(), Files: files})
		if (err == nil) != (name == "own") {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		if err := c.Publish(t.Context(), "dt/gnomon/own/status", nil); err == nil {
			t.Error("what its own policy does not allow is allowed")
		}
		_ = c.Close()
	}
}

func TestTemplates(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":        `{`,
		"no certificate": `{"Resources":{"t":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":"a"}}}}`,
		"two things": `{"Resources":{"c":{"Type":"AWS::IoT::Certificate","Properties":{}},"t":{"Type":"AWS::IoT::Thing","Properties":{}},
			"u":{"Type":"AWS::IoT::Thing","Properties":{}}}}`,
		"unknown type":     `{"Resources":{"c":{"Type":"AWS::IoT::Topic","Properties":{}}}}`,
		"unknown property": `{"Resources":{"c":{"Type":"AWS::IoT::Certificate","Properties":{"Owner":"x"}}}}`,
	} {
		c, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0", Templates: map[string][]byte{"t": []byte(body)}})
		if err == nil {
			_ = c.Close()
			t.Errorf("%s: taken", name)
		}
	}
}
