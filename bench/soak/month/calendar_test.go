package month

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing/synctest"
	"time"

	"gnomon/models/deploy"
	"gnomon/telemetry/health"
)

const (
	// monthDays is what the calendar is written for.
	monthDays = 30
	swapEvery = time.Hour
	// certLife is that of the device's certificate, in days of the calendar. The last one, which a person brings, lives longer
	// than the notice that health gives.
	certLife     = 12
	lastCertLife = 90 * 24 * time.Hour

	lineEvery = time.Minute
)

// event is something that happens in the month.
type event struct {
	at time.Duration // since the beginning
	do func() error
}

// calendar is the month: day n begins at n, and 0.5 is noon. A shorter run has shorter days, and only swaps, samples and
// the two short cuts of each day are as they would be.
func (w *world) calendar() []event {
	var all []event
	exactly := func(at time.Duration, do func() error) { all = append(all, event{at, do}) }
	add := func(day float64, do func() error) { exactly(w.days(day), do) }
	for k := range monthDays {
		day := float64(k)
		add(day+0.05, func() error { return w.turnLog(k%2 == 0) })
		add(day+0.10, func() error {
			w.release++
			return w.cloud.desire(map[string]any{"models": desiredModel(w.release)})
		})
		w.cut(exactly, w.network.sever, day+0.30, 5*time.Second)
		w.cut(exactly, w.network.silence, day+0.40, 90*time.Second)
		if k%3 == 1 {
			w.cut(exactly, w.network.sever, day+0.50, w.days(0.08))
		}
		add(day+0.95, w.sample)
	}
	step := func(day float64, do func()) {
		add(day, func() error {
			do()
			w.steps++
			return nil
		})
	}
	step(2.20, func() { w.clock.step(3 * time.Hour) })
	step(2.60, func() { w.clock.step(-3 * time.Hour) })
	step(4.20, func() { w.clock.step(-5 * time.Hour) })
	step(4.60, func() { w.clock.step(5 * time.Hour) })
	step(6.20, func() { w.clock.set(time.Unix(0, 0)) })
	step(6.28, func() { w.clock.set(time.Time{}) })

	w.cut(exactly, w.network.silence, 10, w.days(7)) // the week
	add(8.20, w.fillDisk)
	add(8.60, w.freeDisk)
	add(10.06, w.fillDisk) // while more and more messages wait
	add(16.70, w.seesFullDisk)
	add(16.70, w.freeDisk)
	add(16.80, w.seesOutage)
	for _, day := range []float64{5.6, 9.6, 16.85, 19.6, 24.6} {
		add(day, w.restart)
	}
	for _, day := range []float64{1.7, 9.75} {
		add(day, func() error {
			w.orders++
			return w.cloud.desire(map[string]any{"certificate": map[string]any{"rotate": fmt.Sprint(w.orders)}})
		})
	}
	add(22.80, w.seesExpiry) // the second one has ended on day 21.75
	add(22.85, func() error { return w.cloud.ca.issue(certFiles(w.dir), thingName, lastCertLife) })
	for at := swapEvery; at < w.days(monthDays); at += swapEvery {
		exactly(at, w.swap)
	}
	slices.SortStableFunc(all, func(a, b event) int { return int(a.at - b.at) })
	return all
}

// cut ends the network for a while; one that begins within another is left out.
func (w *world) cut(add func(time.Duration, func() error), begin func(), day float64, lasts time.Duration) {
	at := w.days(day)
	mine := false
	add(at, func() error {
		if mine = !w.away; mine {
			begin()
			w.cuts++
			w.away = true
		}
		return nil
	})
	add(at+lasts, func() error {
		if mine {
			w.network.mend()
			w.away = false
		}
		return nil
	})
}

// swap exchanges the model for another.
func (w *world) swap() error {
	w.swaps++
	return w.device.host.again(w.ctx)
}

// restart ends a life in good order and begins another.
func (w *world) restart() error {
	if err := w.endLife(); err != nil {
		return err
	}
	return w.beginLife()
}

// seesExpiry checks that a device that is refused for its certificate says so.
func (w *world) seesExpiry() error {
	st := w.device.client.Stats()
	if st.Connected || !strings.Contains(st.LastError, "it expired on") {
		return fmt.Errorf("with a certificate that has ended: connected %v, %q", st.Connected, st.LastError)
	}
	return nil
}

// seesFullDisk checks that a spool that cannot be written says so. In less than a day its file has room for what waits.
func (w *world) seesFullDisk() error {
	if st := w.device.client.Stats(); w.ownDisk && w.total >= 24*time.Hour && (st.Spool.Fault == nil || st.Spool.Unsaved == 0) {
		return fmt.Errorf("with a full disk: %+v", st.Spool)
	}
	return nil
}

// seesOutage checks that a device without a network says so.
func (w *world) seesOutage() error {
	doc := w.device.monitor.Document()
	if !slices.ContainsFunc(doc.Reasons, func(r health.Reason) bool { return r.Code == health.Disconnected }) {
		return fmt.Errorf("at the end of a week without a network: %+v", doc)
	}
	return nil
}

// turnLog rotates the log file: renamed, or copied and emptied.
func (w *world) turnLog(rename bool) error {
	path := filepath.Join(w.logDir, logName)
	old := path + ".1"
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // the first day is young
		return nil
	case rename:
		return os.Rename(path, old)
	}
	return errors.Join(err, os.WriteFile(old, data, 0o600), os.Truncate(path, 0))
}

// writeLog appends a line to the log file that is followed.
func (w *world) writeLog() error {
	f, err := os.OpenFile(filepath.Join(w.logDir, logName), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, logLine+"%d\n", w.lines)
	w.lines++
	return errors.Join(err, f.Close())
}

// fillDisk leaves nothing of the device's file system.
func (w *world) fillDisk() error {
	if !w.ownDisk {
		return nil
	}
	f, err := os.Create(filepath.Join(w.dir, "filler"))
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for err == nil {
		if _, err = f.Write(block); err != nil && len(block) > 1 { // the last bytes as well
			block, err = block[:len(block)/2], nil
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	w.fills++
	return f.Close()
}

func (w *world) freeDisk() error {
	if !w.ownDisk {
		return nil
	}
	return os.Remove(filepath.Join(w.dir, "filler"))
}

// settled waits until everything has been delivered and deployed, or for an hour.
func (w *world) settled() error {
	var st string
	for range 60 {
		time.Sleep(time.Minute)
		synctest.Wait()
		s, r := w.device.client.Stats(), w.device.deployer.Report()["default"]
		if s.Connected && s.Queued+s.InFlight < 2 && r.State == deploy.StateActive && r.Release == w.release && w.device.shadow.Stats().InSync {
			return nil
		}
		st = fmt.Sprintf("%+v, %+v, shadow %+v", s, r, w.device.shadow.Stats())
	}
	return errors.New("an hour after the last event: " + st)
}
