package metrics

import (
	"bytes"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
)

// everything is the text of a registry that has something to say in every family.
func everything(t *testing.T) []byte {
	t.Helper()
	c := newClock()
	r := newRegistry(t, c, "")
	s := r.Source("street")
	s.Observe(observation(c.at, nil))
	r.Snapshot(Inputs{})
	watch(c, s, rand.New(rand.NewPCG(1, 1)), 48*time.Hour, 0.7)
	odd := observation(c.at, found(0, 0.5))
	odd.Labels = []string{"say \"\\\xff\n"}
	r.Source("yard").Observe(odd)
	r.Snapshot(inputs())
	return r.Text(inputs())
}

func TestText(t *testing.T) {
	text := everything(t)
	parser := expfmt.TextParser{}
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for name, f := range families {
		if f.GetHelp() == "" || !strings.HasPrefix(name, "gnomon_") {
			t.Errorf("%s has no help, or another's name", name)
		}
		seen := map[string]bool{}
		for _, m := range f.GetMetric() {
			if key := m.String(); seen[key] {
				t.Errorf("twice: %s", key)
			} else {
				seen[key] = true
			}
		}
	}
	for _, line := range []string{
		`gnomon_agent_info{version="1.2"} 1`,
		`gnomon_frames_processed_total{source="street"} 17281`,
		`gnomon_frames_dropped_total{source="street",cause="busy"} 3`,
		`gnomon_frames_dropped_total{source="street",cause="paced"} 4`,
		`gnomon_stage_duration_seconds_bucket{source="street",stage="infer",le="0.016384"} 0`,
		`gnomon_stage_duration_seconds_bucket{source="street",stage="infer",le="0.032768"} 17281`,
		`gnomon_stage_duration_seconds_count{source="street",stage="publish"} 17281`,
		`gnomon_detections_total{source="yard",class="say \"\\` + "\uFFFD" + `\n"} 1`,
		`gnomon_detection_confidence_bucket{source="yard",le="0.5"} 0`,
		`gnomon_detection_confidence_bucket{source="yard",le="0.55"} 1`,
		`gnomon_drift_learned_ratio{source="street"} 1`,
		`gnomon_health_status{status="degraded"} 1`,
		`gnomon_host_temperature_celsius{sensor="cpu \"hot\"\n"} 71`,
		`gnomon_host_cpu_core_busy_ratio{core="0"} 0.25`,
		`gnomon_host_throttle_events_total{event="over_current_oc1"} 7`,
		`gnomon_host_clock_synchronised 0`,
		`gnomon_spool_dropped_total{class="logs"} 4`,
		`gnomon_gpu_load_ratio{gpu="gpu0"} 0.4`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	for _, absent := range []string{`gnomon_drift_psi{source="yard"`, `core="1"`, "gnomon_gpu_power_watts", "gnomon_cgroup"} { // not known, so not 0
		if strings.Contains(string(text), absent) {
			t.Errorf("there is %s", absent)
		}
	}
	if families["gnomon_drift_psi"] == nil || families["gnomon_drift_shift"] == nil {
		t.Error("no drift")
	}
}

func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not here; Debian has it in the package prometheus. TestText asks its linter all the same")
	}
	for name, text := range map[string][]byte{"everything": everything(t), "nothing": newRegistry(t, newClock(), "").Text(Inputs{})} {
		cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
