package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/config"
	"gnomon/config/layers"
)

// gnomon config show, from the file and from what the agent has kept.
func TestConfigShow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := newDevice(t, dir, nil)
	d.fleet("log/level", "debug", "mqtt/kep_alive", "1m")
	d.shadow(`{"config":{"mqtt":{"outbox":7}},"sources":{"front":{"slot":"doors"}}}`)
	d.end()
	path := write(t, filepath.Join(t.TempDir(), "gnomon.yaml"), []byte(fleetFile))
	show := func(args ...string) (out, errs string, err error) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		c := configShowCommand()
		c.SilenceErrors, c.SilenceUsage = true, true
		c.SetArgs(args)
		c.SetOut(&stdout)
		c.SetErr(&stderr)
		err = c.Execute()
		if strings.Contains(stdout.String()+stderr.String(), "PLANTED") {
			t.Errorf("%v: a password is shown", args)
		}
		return stdout.String(), stderr.String(), err
	}

	out, errs, err := show("--config", path, "--state", dir)
	if err != nil || !strings.Contains(errs, `refused (parameter, unknown_setting): mqtt.kep_alive: unknown key "kep_alive" in mqtt; did you mean "keep_alive"?`) {
		t.Errorf("%v, %s", err, errs)
	}
	got, err := config.Parse("shown", []byte(out))
	if err != nil || got.Log.Level != config.LevelDebug || got.MQTT.Outbox != 7 || got.Sources["front"].Slot != "doors" {
		t.Errorf("%v\n%s", err, out)
	}

	out, _, err = show("--config", path, "--state", dir, "--origin")
	for _, want := range []string{
		"log.level debug parameter /gnomon/fleet/log/level", "mqtt.outbox 7 shadow", "sources.front.slot doors shadow", "device.thing cam-1 " + path + ":1",
		"mqtt.qos 1 default", "mqtt.kep_alive parameter /gnomon/fleet/mqtt/kep_alive unknown_setting unknown key",
	} {
		if flat := strings.Join(strings.Fields(strings.NewReplacer("│", " ", "|", " ").Replace(out)), " "); err != nil || !strings.Contains(flat, want) {
			t.Errorf("no %s: %v\n%s", want, err, out)
		}
	}

	var plain struct {
		MQTT struct{ Outbox int }
	}
	if out, _, err = show("--config", path, "--state", dir, "--json"); err != nil || json.Unmarshal([]byte(out), &plain) != nil || plain.MQTT.Outbox != 7 {
		t.Errorf("%v: %s", err, out)
	}
	var origins struct {
		Settings []shownValue
		Refused  []layers.Refusal
	}
	if out, _, err = show("--config", path, "--state", dir, "--json", "--origin"); err != nil || json.Unmarshal([]byte(out), &origins) != nil ||
		len(origins.Settings) < 60 || len(origins.Refused) != 1 {
		t.Errorf("%v: %s", err, out)
	}

	// Without anything kept, with something damaged, without a file.
	if out, errs, err = show("--config", path, "--state", t.TempDir(), "--origin"); err != nil || errs != "" || strings.Contains(out, "shadow\n") {
		t.Errorf("nothing kept: %v, %s\n%s", err, errs, out)
	}
	write(t, filepath.Join(dir, settingsFile), []byte("{"))
	if _, errs, err = show("--config", path, "--state", dir); err != nil || !strings.Contains(errs, "damaged") {
		t.Errorf("damaged: %v, %s", err, errs)
	}
	out, errs, err = show()
	def := config.Default()
	if got, parseErr := config.Parse("shown", []byte(out)); err != nil || errs != "" || parseErr != nil || !cmp.Equal(&def, got) {
		t.Errorf("the default: %v, %v, %s\n%s", err, parseErr, errs, out)
	}
	var wrong *usageError
	if _, _, err = show("--config", filepath.Join(dir, "missing")); !errors.As(err, &wrong) {
		t.Errorf("no file: %v", err)
	}
	if _, _, err = show("more"); !errors.As(err, &wrong) {
		t.Errorf("arguments: %v", err)
	}
	if err := showOrigins(failing{}, d.stack); err == nil {
		t.Error("what cannot be written is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
