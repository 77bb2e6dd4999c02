package main

import (
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gnomon/cloud/keypair"
	"gnomon/cloud/rotate"
)

// A device that is told to gets itself a new certificate and goes on with it: over a restart of the agent, with the
// frames that come meanwhile, and with AWS access by the new one.
func TestCertificateIsExchanged(t *testing.T) {
	t.Parallel()
	f := newField(t, paced(t, "testdata/pictures", strings.Fields(six)...), "", "")
	before, err := keypair.Leaf(f.thing.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	r := f.agent()
	f.sees("s0", "yolov8")
	f.desire(map[string]any{"certificate": map[string]string{"rotate": "2026-11"}})
	f.until("the new certificate is in use", func() bool {
		c := f.told().Certificate
		return c != nil && (c.State == rotate.Probation || c.State == rotate.Done)
	})
	after, err := keypair.Leaf(f.thing.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.told().Certificate; got.ID != keypair.ID(after) || got.ID == keypair.ID(before) || got.Previous != keypair.ID(before) {
		t.Errorf("reported %+v; the certificate before was %s, now it is %s", got, keypair.ID(before), keypair.ID(after))
	}
	f.news("s0", 5)
	r.stop(syscall.SIGTERM)
	r = f.agent()
	m, _ := f.upload(packOptions{model: "yolov5"})
	f.deploy("default", m) // with credentials by the new certificate
	f.runs("default", m.SHA256)
	r.stop(syscall.SIGTERM)
	// While the connection was away frames waited, so they came in another order, and none is missing.
	seen := map[string]map[uint64]bool{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		key := m.BootID + m.Source
		if seen[key] == nil {
			seen[key] = map[uint64]bool{}
		}
		seen[key][m.Seq] = true
	}
	for key, numbers := range seen {
		if last := slices.Max(slices.Collect(maps.Keys(numbers))); uint64(len(numbers)) != last+1 {
			t.Errorf("%s: %d of %d frames", key, len(numbers), last+1)
		}
	}
}

// Settings from the shadow take effect while the agent runs, wait for a restart, or are refused, and the report says which.
func TestSettingsFromTheShadow(t *testing.T) {
	t.Parallel()
	f := newField(t, paced(t, "testdata/pictures", strings.Fields(six)...), "", "")
	r := f.agent()
	f.sees("s0", "yolov8")
	f.desire(map[string]any{"config": map[string]any{
		"mqtt":   map[string]any{"broker": "mqtts://elsewhere.example", "publish": "detections"},
		"engine": map[string]any{"threads": 2},
		"log":    map[string]any{"level": "warn", "format": "xml"},
	}})
	f.until("the settings are reported", func() bool {
		c := f.told().Config
		if c == nil || !slices.Equal(c.Restart, []string{"engine.threads"}) {
			return false
		}
		codes := map[string]string{}
		for _, x := range c.Refused {
			codes[x.Name] = x.Code
		}
		return len(codes) == 2 && codes["mqtt.broker"] == "local_only" && codes["log.format"] == "bad_setting"
	})
	f.until("frames without detections are published no more", func() bool {
		f.forget()
		f.news("s0", 5)
		return !slices.ContainsFunc(f.seen("s0"), func(m message) bool { return len(m.Detections) == 0 })
	})
	f.desire(map[string]any{"config": nil})
	f.until("the settings are taken back", func() bool { c := f.told().Config; return c == nil })
	f.end(r)
}
