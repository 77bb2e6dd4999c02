package bench

import "testing"

// Each target decides by itself.
func TestSpoolVerdicts(t *testing.T) {
	good := SpoolReport{
		GroupPerSecond: 20_000, Window: SpoolWindow{P99: 50}, EachPerSecond: 1000, DrainPerSecond: 10_000,
		Capped: SpoolCapped{RealTime: 10, LiveDelayMS: 1000}, Dequeue: SpoolDequeue{Few: 10, Many: 12}, ReopenSeconds: 2,
	}
	bad := []func(*SpoolReport){
		func(r *SpoolReport) { r.GroupPerSecond-- },
		func(r *SpoolReport) { r.Window.P99++ },
		func(r *SpoolReport) { r.EachPerSecond-- },
		func(r *SpoolReport) { r.DrainPerSecond-- },
		func(r *SpoolReport) { r.Capped.RealTime-- },
		func(r *SpoolReport) { r.Capped.LiveDelayMS++ },
		func(r *SpoolReport) { r.Dequeue.Many++ },
		func(r *SpoolReport) { r.ReopenSeconds++ },
	}
	if len(bad) != len(good.Verdicts()) {
		t.Fatalf("%d targets", len(good.Verdicts()))
	}
	for i, v := range good.Verdicts() {
		if !v.Met {
			t.Errorf("%+v", v)
		}
		r := good
		bad[i](&r)
		for j, v := range r.Verdicts() {
			if v.Met != (i != j) {
				t.Errorf("case %d: %+v", i, v)
			}
		}
	}
}
