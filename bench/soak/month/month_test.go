package month

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/telemetry"
	"gnomon/telemetry/health"
)

const (
	// defaultDays is enough for the calendar, with days of twelve minutes.
	defaultDays = 0.25
	// diskBytes is the size of the device's file system, where this process may make one.
	diskBytes = 24 << 20
	// early is how long before the cloud's certificates the clock begins, like a board's whose clock has no battery.
	early = 2 * time.Hour
)

// What may grow after the first days, over all the rest whatever its length: what is cached and pooled takes its time to be
// warm.
const (
	warmDays        = 5
	heapGrowth      = 512 << 10
	goroutineGrowth = 1
	fileGrowth      = 1
	storeGrowth     = 128 << 10
)

// world is the device, the cloud, and what happens to them. Its methods are for the goroutine of the test.
type world struct {
	t           *testing.T
	ctx         context.Context
	total       time.Duration
	dir, logDir string
	ownDisk     bool // dir is a file system of its own
	cloud       *cloud
	network     *network
	clock       *clock
	open        *open
	device      *device
	began       time.Time

	release                                  int64
	orders, cuts, swaps, steps, fills, lives int
	away                                     bool
	lines                                    uint64
	samples                                  []sample

	// Of the lives that have ended.
	published, refused, dropped, droppedLogs, captured, passed, processed uint64
}

// sample is what must not grow.
type sample struct {
	at                                            time.Duration
	calm                                          bool // there is a connection, and nothing waits
	heap, goroutines, files, spool, kept, waiting float64
}

// days is the time of so many days of the calendar.
func (w *world) days(n float64) time.Duration { return time.Duration(n / monthDays * float64(w.total)) }

// TestMonth is described at the package.
func TestMonth(t *testing.T) {
	days := defaultDays
	if text := os.Getenv("GNOMON_SOAK_DAYS"); text != "" {
		var err error
		if days, err = strconv.ParseFloat(text, 64); err != nil || !(days >= defaultDays) {
			t.Fatalf("GNOMON_SOAK_DAYS is %q; write a number of days, %v or more", text, defaultDays)
		}
	}
	w := &world{t: t, total: time.Duration(days * float64(24*time.Hour)), logDir: t.TempDir(), clock: &clock{}, open: &open{}}
	w.dir, w.ownDisk = disk(t)
	cloudDir := t.TempDir()
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.t, w.ctx = t, ctx
		w.cloud = newCloud(t, cloudDir, time.Now().Add(early))
		w.network = newNetwork(w.cloud.at)
		over := make(chan error, 1)
		go func() { over <- w.cloud.run(ctx) }()
		if err := w.live(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-over; err != nil {
			t.Error("the cloud: ", err)
		}
	})
	t.Logf("%v days took %v", days, time.Since(began).Round(time.Second))
	w.judge(t)
}

// disk is a directory for the device's state: a file system of its own in memory, which can be filled, or else an ordinary
// one.
func disk(t *testing.T) (dir string, own bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", diskBytes))
	if err != nil {
		t.Logf("the disk is never full in this run: a file system of its own needs root: %v", err)
		return dir, false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error("unmount the device's disk: ", err)
		}
	})
	return dir, true
}

// live is the whole run.
func (w *world) live() error {
	if err := errors.Join(w.cloud.ca.issue(certFiles(w.dir), thingName, w.days(certLife)), w.cloud.desire(map[string]any{})); err != nil {
		return err
	}
	if err := w.boot(); err != nil {
		return err
	}
	if err := w.beginLife(); err != nil {
		return err
	}
	leave, err := w.cloud.listen(w.t)
	if err != nil {
		return err
	}
	defer leave()
	w.began = time.Now()
	err = w.follow()
	w.network.mend()
	err = errors.Join(err, w.endLife())
	time.Sleep(time.Minute) // what was sent last arrives
	return err
}

// follow follows the calendar.
func (w *world) follow() error {
	writing, stop := context.WithCancel(w.ctx)
	defer stop()
	written := make(chan error, 1)
	go func() { written <- w.keepLogging(writing) }()
	for _, e := range w.calendar() {
		time.Sleep(time.Until(w.began.Add(e.at)))
		if err := e.do(); err != nil {
			return fmt.Errorf("after %v: %w", time.Since(w.began), err)
		}
	}
	err := w.settled()
	stop()
	err = errors.Join(err, <-written)
	time.Sleep(time.Minute)
	err = errors.Join(err, w.settled())
	w.final()
	return err
}

// boot is a life with a clock that is hours early, as of a board without a battery that was switched on before the network
// could tell it the time.
func (w *world) boot() error {
	if err := w.beginLife(); err != nil {
		return err
	}
	time.Sleep(early / 4) // and a certificate is valid an hour before it is born
	if st := w.device.client.Stats(); st.Connected || !strings.Contains(st.LastError, "set the clock") {
		w.t.Errorf("with a clock that is hours early: connected %v, %q", st.Connected, st.LastError)
	}
	if err := w.endLife(); err != nil {
		return err
	}
	time.Sleep(early)
	return nil
}

func (w *world) keepLogging(ctx context.Context) error {
	time.Sleep(time.Second / 3) // not just when the file is turned, which loses lines with any program
	tick := time.NewTicker(lineEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := w.writeLog(); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *world) beginLife() (err error) {
	w.device, err = newDevice(w.dir, w.logDir, w.cloud, w.network, w.clock, w.days(certLife), w.open)
	w.lives++
	return err
}

// endLife ends the device and adds its numbers up.
func (w *world) endLife() error {
	d := w.device
	if err := d.end(); err != nil {
		return fmt.Errorf("the end of a life: %w", err)
	}
	st, frames := d.client.Stats(), d.frames()
	w.published += d.published.Load()
	w.refused += d.refused.Load()
	w.dropped += st.Classes[telemetry.Detections].Dropped + st.Classes[telemetry.Detections].Lost
	w.droppedLogs += st.Classes[telemetry.Logs].Dropped + st.Classes[telemetry.Logs].Lost
	w.captured += frames.Captured
	w.passed += frames.Dropped
	w.processed += frames.Processed
	return nil
}

// final checks that all is well before the last end.
func (w *world) final() {
	if doc := w.device.monitor.Document(); doc.Status != health.OK {
		w.t.Errorf("at the end the health is %s: %+v", doc.Status, doc.Reasons)
	}
}

// sample looks at what must not grow.
func (w *world) sample() error {
	synctest.Wait()
	runtime.GC()
	runtime.GC() // what the first one found no longer needed, finalizers included
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	st := w.device.client.Stats()
	s := sample{
		at: time.Since(w.began), calm: st.Connected && st.Queued+st.InFlight == 0, heap: float64(mem.HeapAlloc),
		goroutines: float64(runtime.NumGoroutine()), files: float64(len(fds)), spool: float64(st.Spool.FileBytes), waiting: float64(st.Queued),
	}
	err = filepath.Walk(filepath.Join(w.dir, "models"), func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			s.kept += float64(info.Size())
		}
		return err
	})
	w.samples = append(w.samples, s)
	return err
}
