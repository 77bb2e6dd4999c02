package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"gnomon/config"
	"gnomon/devcloud"
)

// TestProvision runs the command against devcloud: a device without anything becomes a thing with a configuration, a
// second time changes nothing, and what people have written is never overwritten.
func TestProvision(t *testing.T) {
	cloud, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: t.TempDir(), MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	running := inBackground(cloud.Run)
	t.Cleanup(func() {
		if err := running.stop(); err != nil {
			t.Error(err)
		}
	})
	claim, err := cloud.AddClaim("factory")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "identity")
	path := filepath.Join(dir, "gnomon.yaml")
	host := strings.TrimPrefix(cloud.HTTPSURL(), "https://")
	command := func(args ...string) (string, error) {
		c, out := provisionCommand(), bytes.Buffer{}
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetOut(&out)
		c.SetErr(&out)
		c.SetArgs(append([]string{
			"--endpoint", cloud.MQTTURL(), "--claim-cert", claim.CertFile, "--claim-key", claim.KeyFile, "--ca", cloud.CAFile(),
			"--template", devcloud.FleetTemplate, "--dir", dir, "--parameter", "SerialNumber=4711", "--timeout", "30s",
			"--setting", "aws.role_alias=gnomon-device", "--setting", "aws.credentials_endpoint=" + host, "--setting", "aws.region=eu-central-1",
		}, args...))
		err := c.ExecuteContext(context.Background())
		return out.String(), err
	}
	if out, err := command("--setting", "models.dir=/x"); err == nil || !strings.Contains(err.Error(), "these can") {
		t.Errorf("a setting that is not to be set: %v %s", err, out)
	}
	if out, err := command("--setting", "aws.region=?"); err == nil || !strings.Contains(err.Error(), "aws.region") {
		t.Errorf("a bad setting: %v %s", err, out)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a wrong configuration was written")
	}
	for _, want := range []string{"was written", "is right as it is"} {
		out, err := command()
		if err != nil || !strings.Contains(out, "is already the thing gnomon-4711") || !strings.Contains(out, want) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Device.Thing != "gnomon-4711" || c.MQTT.Broker != cloud.MQTTURL() || !c.Shadow.Enabled || c.AWS.RoleAlias != "gnomon-device" || c.MQTT.TopicPrefix != "dt/gnomon" {
		t.Errorf("%+v", c)
	}
	c.Models.Dir = t.TempDir()
	who, err := newIdentity(c)
	if err != nil {
		t.Fatal(err)
	}
	telling, err := newReporting(c, who)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := newAgent(newFleetSettings(c, nil, "", ""), c, telling, zap.NewAtomicLevel(), nil, zap.NewNop()); err != nil {
		t.Errorf("an agent with this configuration: %v", err)
	} else if err := a.close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := command(); err == nil || !strings.Contains(err.Error(), "stays as it is") || !strings.Contains(err.Error(), "thing: \"gnomon-4711\"") {
		t.Errorf("over somebody's configuration: %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "# mine\n" {
		t.Errorf("it has become %q", data)
	}
	if _, err := command("--claim-key", cloud.CAFile(), "--dir", t.TempDir(), "--timeout", "5s"); err == nil || !strings.Contains(err.Error(), "claim certificate") {
		t.Errorf("with another key: %v", err)
	}
}
