package bench

import "fmt"

// Targets for the spool between the pipeline and MQTT.
const (
	SpoolGroupTarget   = 20_000 // records a second, durable, with a commit every 50 ms
	SpoolWindowTarget  = 50.0   // ms from putting a record to its being durable, at that rate, for 99 of 100: one flush of a disk may stall
	SpoolEachTarget    = 1_000  // records a second, durable before they count as taken
	SpoolDrainTarget   = 10_000 // records a second to a broker on this machine
	SpoolCappedTarget  = 10.0   // times real time, under AWS IoT Core's limits
	SpoolLiveTarget    = 1000.0 // ms that a new record may take meanwhile
	SpoolDequeueTarget = 1.2    // cost of dequeueing with many records, of that with few
	SpoolReopenTarget  = 2.0    // seconds to open a spool with many records
)

// SpoolRealTime is what counts as real time: the records of one camera of 30 frames a second.
const SpoolRealTime = 30

// SpoolReport is what the spool and the client above it came to. Its JSON is what `gnomon bench spool --json` prints.
type SpoolReport struct {
	RecordBytes int    `json:"record_bytes"` // topic and payload
	Many        int    `json:"records"`      // of dequeue and reopen
	Broker      string `json:"broker"`

	GroupPerSecond float64      `json:"durable_50ms_per_s"`
	Window         SpoolWindow  `json:"loss_window_ms"`
	EachPerSecond  float64      `json:"durable_each_per_s"`   // many at once share a commit
	OnePerSecond   float64      `json:"durable_each_1_per_s"` // one after the other
	DrainPerSecond float64      `json:"drain_per_s"`
	Capped         SpoolCapped  `json:"drain_capped"`
	Dequeue        SpoolDequeue `json:"dequeue_us"`
	ReopenSeconds  float64      `json:"reopen_s"`
	FileMB         float64      `json:"file_mb"` // 10^6 bytes, with all the records in it
}

// SpoolWindow is how long records waited to be durable, in milliseconds, while SpoolGroupTarget came in a second.
type SpoolWindow struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// SpoolCapped is draining under AWS IoT Core's limits while new records come.
type SpoolCapped struct {
	PerSecond   float64 `json:"per_s"`
	RealTime    float64 `json:"times_real_time"`
	LiveDelayMS float64 `json:"live_delay_max_ms"` // from putting a new record to its acknowledgement
}

// SpoolDequeue is what a record costs that is taken, acknowledged and removed from the file, in microseconds, with few
// and with many others in the spool.
type SpoolDequeue struct {
	Few  float64 `json:"at_1k"`
	Many float64 `json:"at_many"`
}

// Verdicts holds the report against the targets.
func (r *SpoolReport) Verdicts() []Verdict {
	least := func(what string, v, limit float64, unit string) Verdict {
		return Verdict{what, fmt.Sprintf("≥ %.0f%s", limit, unit), fmt.Sprintf("%.0f%s", v, unit), v >= limit}
	}
	most := func(what, format string, v, limit float64) Verdict {
		return Verdict{what, "≤ " + fmt.Sprintf(format, limit), fmt.Sprintf(format, v), v <= limit}
	}
	return []Verdict{
		least("durable, a commit every 50 ms", r.GroupPerSecond, SpoolGroupTarget, "/s"),
		most("loss window at that target, p99", "%.1f ms", r.Window.P99, SpoolWindowTarget),
		least("durable before it counts", r.EachPerSecond, SpoolEachTarget, "/s"),
		least("drained to a broker nearby", r.DrainPerSecond, SpoolDrainTarget, "/s"),
		least(fmt.Sprintf("drained under AWS's limits, of %d/s", SpoolRealTime), r.Capped.RealTime, SpoolCappedTarget, "×"),
		most("new records meanwhile, longest", "%.0f ms", r.Capped.LiveDelayMS, SpoolLiveTarget),
		most(fmt.Sprintf("dequeueing at %d ÷ at 1000", r.Many), "%.2f", over(r.Dequeue.Many, r.Dequeue.Few), SpoolDequeueTarget),
		most(fmt.Sprintf("opening with %d records", r.Many), "%.2f s", r.ReopenSeconds, SpoolReopenTarget),
	}
}
