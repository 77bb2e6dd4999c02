package month

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"gnomon/bench/soak/trend"
)

// judge prints the table and fails where something grows or is missing.
func (w *world) judge(t *testing.T) {
	t.Helper()
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	w.growth(t, table)
	w.conservation(t, table)
	if err := table.Flush(); err != nil {
		t.Error(err)
	}
	t.Log("\n" + out.String())
	if n, m := w.open.sessions.Load(), w.open.buffers.Load(); n != 0 || m != 0 {
		t.Errorf("%d parts of models and %d buffers of frames are still open", n, m)
	}
	for _, odd := range w.cloud.ledger.odd {
		t.Error("a message: ", odd)
	}
}

func (w *world) growth(t *testing.T, table io.Writer) {
	t.Helper()
	_, _ = fmt.Fprintf(table, "what\tbegin\tend\tmost\tgrowth\t95 %%\tlimit\t\n")
	for _, row := range []struct {
		name  string
		limit float64
		of    func(s *sample) float64
	}{
		{"heap, bytes", heapGrowth, func(s *sample) float64 { return s.heap }},
		{"goroutines", goroutineGrowth, func(s *sample) float64 { return s.goroutines }},
		{"open files", fileGrowth, func(s *sample) float64 { return s.files }},
		{"model store, bytes", storeGrowth, func(s *sample) float64 { return s.kept }},
		{"spool's file, bytes", math.Inf(1), func(s *sample) float64 { return s.spool }},
	} {
		var x, y []float64
		most := 0.0
		for i := range w.samples {
			s := &w.samples[i]
			most = max(most, row.of(s))
			if s.calm && s.at > w.days(warmDays) {
				x, y = append(x, float64(s.at)/float64(w.total)), append(y, row.of(s))
			}
		}
		slope, err := trend.Of(x, y)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		verdict := "flat"
		if slope.Grows(row.limit) {
			verdict = "grows"
			t.Errorf("%s: grows by %.0f over the run, at most %.0f are allowed: %.0f", row.name, slope.Value, row.limit, y)
		}
		_, _ = fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%.0f\t%+.0f\t%+.0f to %+.0f\t%.0f\t%s\n", row.name, y[0], y[len(y)-1], most, slope.Value, slope.Low, slope.High, row.limit, verdict)
	}
	for i := range w.samples {
		if s := &w.samples[i]; s.spool > spoolBytes {
			t.Errorf("the spool's file has %.0f bytes, %d are allowed", s.spool, spoolBytes)
		}
	}
}

// conservation: what was captured was looked at or passed over, and what was told of arrived or was given up, by name.
func (w *world) conservation(t *testing.T, table io.Writer) {
	t.Helper()
	arrived, lines, again := w.cloud.ledger.totals()
	missing := w.published - min(arrived, w.published)
	_, _ = fmt.Fprintf(table, "\nframes: %d captured, %d looked at, %d passed over\n", w.captured, w.processed, w.passed)
	_, _ = fmt.Fprintf(table, "detections: %d told of, %d arrived, %d missing, %d given up, %d messages came again\n", w.published, arrived, missing, w.dropped, again)
	_, _ = fmt.Fprintf(table, "lines of a log: %d written, %d arrived; %d batches of logs given up\n", w.lines, lines, w.droppedLogs)
	_, _ = fmt.Fprintf(table, "%d lives, %d models deployed, %d swaps, %d cuts, %d certificates ordered, %d steps of the clock, %d times a full disk\n",
		w.lives, w.release, w.swaps, w.cuts, w.orders, w.steps, w.fills)
	var errs []error
	check := func(ok bool, text string) {
		if !ok {
			errs = append(errs, errors.New(text))
		}
	}
	// Each end of a pipeline may give up what was in work: a frame in the model, one waiting for it, one being read.
	lost := int64(w.captured) - int64(w.processed) - int64(w.passed)
	check(lost >= 0 && lost <= int64(6*w.lives), fmt.Sprintf("%d frames are not accounted for", lost))
	check(w.passed > 0, "no frame was passed over, so that was not tried")
	check(w.published == w.processed, "not every frame was told of")
	check(w.refused == 0, fmt.Sprintf("%d messages were refused", w.refused))
	check(arrived <= w.published, "more arrived than was told of")
	check(missing <= w.dropped, "messages are missing that were not counted as given up")
	check(w.dropped > 0 || w.total < monthDays*24*time.Hour, "the spool gave nothing up in a week without a network, so that was not tried")
	check(lines == w.lines || w.droppedLogs > 0, "lines of the log are missing")
	check(lines > w.lines/2, "most lines of the log are missing")
	check(int64(w.cloud.ledger.statuses) > 0 && w.cloud.ledger.metrics > 0 && w.cloud.ledger.logs > 0, "no status, metrics or logs arrived")
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
