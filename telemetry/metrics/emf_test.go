package metrics

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"gnomon/telemetry/host"
)

// TestEMF holds the messages against the specification of the format.
func TestEMF(t *testing.T) {
	_, _, snap := scene(t)
	for range 100 {
		snap.Inputs.Host.GPUs = append(snap.Inputs.Host.GPUs, host.GPU{Load: new(0.5), MemoryUsed: new(uint64(1)), Celsius: new(1.0), Watts: new(2.0)})
	}
	payloads, err := snap.EMF("Gnomon")
	if err != nil || len(payloads) != 3 {
		t.Fatalf("%d messages, %v", len(payloads), err)
	}
	for i, want := range []struct {
		source     string
		dimensions []string
		metrics    map[string]float64
	}{
		{"agent", []string{"thing"}, map[string]float64{"CPU": 50, "HottestCelsius": 71, "Throttled": 1, "SpoolDropped": 4, "GPU0Load": 40, "ClockMaxError": 16}},
		{"street", []string{"thing", "source"}, map[string]float64{"FramesPerSecond": 1.35, "InferP90": 19.968, "FramesFailed": 4, "Detections": 62}},
		{"yard", []string{"thing", "source"}, map[string]float64{"Frames": 0}},
	} {
		var root map[string]any
		if err := json.Unmarshal(payloads[i], &root); err != nil {
			t.Fatal(err)
		}
		var meta struct {
			AWS struct {
				Timestamp         int64
				CloudWatchMetrics []struct {
					Namespace  string
					Dimensions [][]string
					Metrics    []struct{ Name, Unit string }
				}
			} `json:"_aws"`
		}
		if err := json.Unmarshal(payloads[i], &meta); err != nil {
			t.Fatal(err)
		}
		if meta.AWS.Timestamp != 1795341620000 || len(meta.AWS.CloudWatchMetrics) != 1 {
			t.Fatalf("%+v", meta.AWS)
		}
		d := meta.AWS.CloudWatchMetrics[0]
		if d.Namespace != "Gnomon" || len(d.Dimensions) != 1 || !slices.Equal(d.Dimensions[0], want.dimensions) || len(d.Metrics) > 100 {
			t.Errorf("%+v", d)
		}
		for _, name := range d.Dimensions[0] {
			if v, ok := root[name].(string); !ok || v == "" {
				t.Errorf("dimension %s is %v", name, root[name])
			}
		}
		units := []string{"Seconds", "Milliseconds", "Bytes", "Percent", "Count", "Count/Second", "None"}
		for _, m := range d.Metrics {
			if _, ok := root[m.Name].(float64); !ok || !slices.Contains(units, m.Unit) {
				t.Errorf("metric %s in %s is %v", m.Name, m.Unit, root[m.Name])
			}
		}
		for name, v := range want.metrics {
			if root[name] != v {
				t.Errorf("%s of %s is %v, want %v", name, want.source, root[name], v)
			}
		}
		if root["source"] != want.source || root["device"] != "thing-1" || root["boot_id"] != "boot-1" || root["seq"] != 1.0 || root["schema"] != "gnomon.emf/1" {
			t.Errorf("%s", payloads[i])
		}
	}
	for _, namespace := range []string{"", strings.Repeat("x", 1025)} {
		if _, err := snap.EMF(namespace); err == nil {
			t.Errorf("namespace of %d characters", len(namespace))
		}
	}
}
