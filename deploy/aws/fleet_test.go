package aws

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"gnomon/devcloud"
)

const (
	ordering     = "$aws/certificates/create-from-csr/json"
	provisioning = "$aws/provisioning-templates/gnomon-fleet/provision/json"
	rotating     = "$aws/provisioning-templates/gnomon-rotate/provision/json"
)

// TestClaim: with a claim certificate, the templates of gnomon.yaml make a thing that can do what a device does, and
// nothing else can be done with it.
func TestClaim(t *testing.T) {
	c := startCloud(t)
	claim, err := c.AddClaim("factory")
	if err != nil {
		t.Fatal(err)
	}
	if !refused(t, c, claim, "gnomon-b") {
		t.Error("a claim connects as gnomon-b, and throws it out")
	}
	x := connect(t, c, claim, "gnomon-provision-1")
	for filter, want := range map[string]bool{
		ordering + "/accepted": true, ordering + "/rejected": true,
		provisioning + "/accepted": true, provisioning + "/rejected": true,
		rotating + "/accepted": false, "dt/gnomon/gnomon-b/status": false, "#": false,
		"$aws/things/gnomon-b/shadow/name/gnomon/get/accepted": false,
	} {
		if got := x.subscribe(filter); got != want {
			t.Errorf("a claim subscribes to %s: %v", filter, got)
		}
	}
	files, token := x.order(t, claim)
	answer := x.ask(provisioning, map[string]any{
		"certificateOwnershipToken": token, "parameters": map[string]string{"SerialNumber": "a", "Model": "orin"},
	})
	want := map[string]any{
		"aws.region": region, "aws.role_alias": "gnomon-device", "aws.parameters.path": "/gnomon/fleet", "mqtt.topic_prefix": "dt/gnomon",
		"aws.rotation_template": "gnomon-rotate",
	}
	if got, _ := answer["deviceConfiguration"].(object); answer["thingName"] != "gnomon-a" || !maps.Equal(got, want) {
		t.Fatalf("provisioning says %v", answer)
	}
	if y := connect(t, c, claim, "gnomon-provision-2"); y.publish("dt/gnomon/gnomon-b/street/detections", false, `{}`) {
		t.Error("a claim may publish for gnomon-b")
	}
	if y := connect(t, c, claim, "gnomon-provision-3"); y.publish(rotating, false, `{}`) {
		t.Error("a claim may use the template of devices")
	}

	a := connect(t, c, files, "gnomon-a")
	if !a.publish("dt/gnomon/gnomon-a/street/detections", false, `{}`) {
		t.Fatal("the new device may not publish")
	}
	for _, answer := range []string{ordering + "/accepted", ordering + "/rejected", rotating + "/accepted", rotating + "/rejected"} {
		if !a.subscribe(answer) {
			t.Errorf("the new device may not hear %s", answer)
		}
	}
	next, token := a.order(t, files)
	ask := func(thing string) object {
		return a.ask(rotating, map[string]any{"certificateOwnershipToken": token, "parameters": map[string]string{"ThingName": thing}})
	}
	if answer := ask("gnomon-b"); answer["errorCode"] == nil {
		t.Errorf("gnomon-a gets a certificate for gnomon-b: %v", answer)
	}
	if answer := ask("gnomon-a"); answer["thingName"] != "gnomon-a" {
		t.Fatalf("gnomon-a gets no other certificate: %v", answer)
	}
	if !refused(t, c, next, "gnomon-b") {
		t.Error("the second certificate is good for gnomon-b")
	}
	a.Disconnect(0)
	if !connect(t, c, next, "gnomon-a").publish("dt/gnomon/gnomon-a/events", false, `{}`) {
		t.Error("the second certificate is no good")
	}
}

// order makes a key, and has a certificate made for it: files for the same broker as those given, and the token.
func (x *client) order(t *testing.T, like devcloud.Thing) (files devcloud.Thing, token string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	answer := x.ask(ordering, map[string]any{"certificateSigningRequest": asPEM("CERTIFICATE REQUEST", request)})
	certificate, _ := answer["certificatePem"].(string)
	token, _ = answer["certificateOwnershipToken"].(string)
	if certificate == "" || token == "" {
		t.Fatalf("no certificate: %v", answer)
	}
	dir := t.TempDir()
	files = like
	files.CertFile, files.KeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, text := range map[string]string{files.CertFile: certificate, files.KeyFile: asPEM("PRIVATE KEY", der)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files, token
}

// ask publishes a request and returns its answer, accepted or rejected.
func (x *client) ask(topic string, request map[string]any) (answer object) {
	x.t.Helper()
	data, err := json.Marshal(request)
	if err != nil {
		x.t.Fatal(err)
	}
	if !x.publish(topic, false, string(data)) {
		x.t.Fatalf("a request to %s is not let through", topic)
	}
	select {
	case m := <-x.got:
		if m.Topic() != topic+"/accepted" && m.Topic() != topic+"/rejected" {
			x.t.Fatalf("asked %s, heard %s", topic, m.Topic())
		}
		if err := json.Unmarshal(m.Payload(), &answer); err != nil {
			x.t.Fatalf("%s: %v", m.Payload(), err)
		}
	case <-time.After(patience):
		x.t.Fatalf("no answer to %s", topic)
	}
	return answer
}

// hookDriver stands in for Lambda, and for the one call that the function makes.
const hookDriver = `
import json, sys, types

class NotFound(Exception):
    pass

class IoT:
    exceptions = types.SimpleNamespace(ResourceNotFoundException=NotFound)
    def list_thing_principals(self, thingName):
        if thingName not in (case["things"] or {}):
            raise NotFound()
        return {"principals": ["arn:aws:iot:r:a:cert/" + c for c in case["things"][thingName]]}

sys.modules["boto3"] = types.SimpleNamespace(client=lambda service: IoT())
import index

answers = []
for case in json.load(sys.stdin):
    answers.append(index.handler(case["event"], None))
print(json.dumps(answers))
`

// TestHook runs the function that decides about certificates, as Lambda would.
func TestHook(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3, which the function is written in, is not installed")
	}
	s, dir := openStack(t, nil), t.TempDir()
	p := s.properties("Hook")
	for name, text := range map[string]string{"index.py": p["Code"].(object)["ZipFile"].(string), "driver.py": hookDriver} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type parameters = map[string]string
	tests := []struct {
		name, template, client string
		given                  parameters
		things                 map[string][]string // certificates by thing
		want                   bool
	}{
		{"a new device", "gnomon-fleet", "gnomon-provision-1", parameters{"SerialNumber": "a"}, nil, true},
		{"a thing made beforehand", "gnomon-fleet", "gnomon-provision-1", parameters{"SerialNumber": "a"}, map[string][]string{"gnomon-a": {}}, true},
		{"the same request again", "gnomon-fleet", "gnomon-provision-1", parameters{"SerialNumber": "a"}, map[string][]string{"gnomon-a": {"c1"}}, true},
		{"somebody else's thing", "gnomon-fleet", "gnomon-provision-1", parameters{"SerialNumber": "a"}, map[string][]string{"gnomon-a": {"c0"}}, false},
		{"somebody else's thing, with a second try", "gnomon-fleet", "gnomon-provision-1", parameters{"SerialNumber": "a"}, map[string][]string{"gnomon-a": {"c1", "c0"}}, false},
		{"a client id of claims", "gnomon-fleet", "gnomon-provision-1", parameters{"SerialNumber": "provision-1"}, nil, false},
		{"a device for itself", "gnomon-rotate", "gnomon-a", parameters{"ThingName": "gnomon-a"}, map[string][]string{"gnomon-a": {"c0"}}, true},
		{"a device for another", "gnomon-rotate", "gnomon-a", parameters{"ThingName": "gnomon-b"}, map[string][]string{"gnomon-b": {"c0"}}, false},
		{"a device for one that does not exist", "gnomon-rotate", "gnomon-a", parameters{"ThingName": "gnomon-x"}, nil, false},
	}
	cases := []any{}
	for _, test := range tests {
		cases = append(cases, map[string]any{"things": test.things, "event": map[string]any{
			"claimCertificateId": "c", "certificateId": "c1", "clientId": test.client, "parameters": test.given,
			"templateArn": "arn:aws:iot:eu-central-1:000000000000:provisioningtemplate/" + test.template,
		}})
	}
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "driver.py")
	cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(in), os.Environ()
	for name, value := range p["Environment"].(object)["Variables"].(object) {
		cmd.Env = append(cmd.Env, name+"="+value.(string))
	}
	out, err := cmd.CombinedOutput()
	answers := []struct{ AllowProvisioning *bool }{}
	if err == nil {
		err = json.Unmarshal(out, &answers)
	}
	if err != nil || len(answers) != len(tests) {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, test := range tests {
		if got := answers[i].AllowProvisioning; got == nil || *got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	if size := len(p["Code"].(object)["ZipFile"].(string)); size > 4096 {
		t.Errorf("the function has %d characters; CloudFormation takes 4096 in a template", size)
	}
}
