package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"gnomon/bench"
	"gnomon/engine"
)

// resultLog notes when results came, and whether any is missing. It satisfies engine.Sink.
type resultLog struct {
	mu     sync.Mutex
	at     []time.Time
	next   uint64
	lost   uint64
	failed uint64
	came   chan struct{} // one slot
}

func (l *resultLog) Handle(r *engine.Result) error {
	l.mu.Lock()
	if r.Err != nil {
		l.failed++
	}
	l.lost += r.Frame.Seq - l.next
	l.next = r.Frame.Seq + 1
	l.at = append(l.at, time.Now())
	l.mu.Unlock()
	select {
	case l.came <- struct{}{}:
	default:
	}
	return nil
}

func (l *resultLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.at)
}

// wait waits for n more results.
func (l *resultLog) wait(ctx context.Context, n int) error {
	for until := l.count() + n; l.count() < until; {
		select {
		case <-l.came:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// since are the moments from result n on.
func (l *resultLog) since(n int) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]time.Time(nil), l.at[n:]...)
}

// residentMB is the resident memory of this process in MB; 0: the system does not say.
func residentMB() float64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return float64(pages*int64(os.Getpagesize())) / 1e6
}

func renderSwaps(out io.Writer, r *bench.SwapReport) {
	t := newTable(out)
	t.AppendHeader(table.Row{"", "gnomon", "without care"})
	row := func(name string, of func(*bench.SwapReport) string) {
		control := "-"
		if r.Naive != nil {
			control = of(r.Naive)
		}
		t.AppendRow(table.Row{name, of(r), control})
	}
	row("frames", func(r *bench.SwapReport) string { return fmt.Sprint(r.Frames) })
	row("frames lost, failed", func(r *bench.SwapReport) string { return fmt.Sprintf("%d, %d", r.FramesLost, r.Failed) })
	row("gap between results, steady p50 / p99", func(r *bench.SwapReport) string {
		return fmt.Sprintf("%.1f / %.1f ms", r.Steady.P50, r.Steady.P99)
	})
	row("gap between results, exchanging p50 / max", func(r *bench.SwapReport) string { return fmt.Sprintf("%.1f / %.1f ms", r.Gap.P50, r.Gap.Max) })
	row("frames a second, steady / loading", func(r *bench.SwapReport) string {
		return fmt.Sprintf("%.1f / %.1f", r.FPS.Steady, r.FPS.Loading)
	})
	row("loading a model, p50 / max", func(r *bench.SwapReport) string { return fmt.Sprintf("%.0f / %.0f ms", r.Load.P50, r.Load.Max) })
	row(fmt.Sprintf("memory after %d / %d / %d", bench.SwapsEarly, bench.SwapsLate, r.Swaps), func(r *bench.SwapReport) string {
		return fmt.Sprintf("%.0f / %.0f / %.0f MB", r.RSS.After3, r.RSS.After20, r.RSS.AfterLast)
	})
	t.Render()
	_, _ = fmt.Fprintln(out) // a table follows, whose writer cannot report either
	renderVerdicts(out, r.Verdicts())
}
