package camera

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gnomon/engine"
)

// fakeHandle is a VideoCapture that does what a test says. What is not said works.
type fakeHandle struct {
	opens  func() bool
	grabs  func(n int) (time.Duration, bool) // n counts from 0
	shapes func(n int) shape
	said   told
	props  map[property]float64
	sets   []string
	refuse map[property]bool // asked for in vain

	n         int
	retrieved int
	stops     atomic.Int32
	frees     atomic.Int32
}

func (h *fakeHandle) opened() bool { return h.opens == nil || h.opens() }

func (h *fakeHandle) stream(string, string, time.Duration, time.Duration) bool { return h.opened() }

func (h *fakeHandle) device(string) bool { return h.opened() }

func (h *fakeHandle) grab() (time.Duration, bool) {
	h.n++
	if h.grabs == nil {
		return time.Duration(h.n) * 40 * time.Millisecond, true
	}
	return h.grabs(h.n - 1)
}

func (h *fakeHandle) retrieve(f *engine.Frame) error {
	h.retrieved++
	f.Width = h.n
	return nil
}

func (h *fakeHandle) shape() shape {
	if h.shapes == nil {
		return shape{640, 480, 0}
	}
	return h.shapes(h.n - 1)
}

func (h *fakeHandle) told() told { return h.said }

func (h *fakeHandle) get(p property) float64 {
	if v, ok := h.props[p]; ok {
		return v
	}
	return map[property]float64{propWidth: 640, propHeight: 480, propFPS: 25}[p]
}

func (h *fakeHandle) set(p property, v float64) bool {
	h.sets = append(h.sets, fmt.Sprint(int(p), "=", v))
	if h.refuse[p] {
		return false
	}
	if h.props == nil {
		h.props = map[property]float64{}
	}
	h.props[p] = v
	return true
}

func (h *fakeHandle) stop() { h.stops.Add(1) }

func (h *fakeHandle) free() { h.frees.Add(1) }

// hang is a native call that does not return before the test lets it.
func hang(release <-chan struct{}, from int) func(int) (time.Duration, bool) {
	return func(n int) (time.Duration, bool) {
		if n >= from {
			<-release
			return 0, false
		}
		time.Sleep(40 * time.Millisecond)
		return time.Duration(n+1) * 40 * time.Millisecond, true
	}
}

func openFake(ctx context.Context, h *fakeHandle, o Options) (*live, error) {
	return openLive(ctx, o, Stream, "rtsp://cam/x", &stream{h: h, uri: "rtsp://cam/x"})
}

func mustOpenFake(t *testing.T, h *fakeHandle, o Options) *live {
	t.Helper()
	l, err := openFake(t.Context(), h, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func grabN(t *testing.T, l *live, n int) {
	t.Helper()
	for range n {
		if err := l.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// within fails the test if f takes longer, by the clock of the bubble.
func within(t *testing.T, least, most time.Duration, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if d := time.Since(began); d < least || d > most {
		t.Errorf("%s took %v, want %v to %v", what, d, least, most)
	}
}

// A reader that stalls is noticed in time, left behind when it does not come back, and closed when it does.
func TestStall(t *testing.T) {
	for _, row := range []struct {
		name string
		o    Options
		fps  float64
		want time.Duration
	}{
		{"25 a second", Options{}, 25, 2 * time.Second},
		{"one in five seconds", Options{}, 0.2, 15 * time.Second},
		{"the rate is nonsense", Options{}, 90000, 2 * time.Second},
		{"as configured", Options{Stall: 300 * time.Millisecond}, 25, 300 * time.Millisecond},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				h := &fakeHandle{grabs: hang(release, 3), props: map[property]float64{propFPS: row.fps, propWidth: 640, propHeight: 480}}
				l := mustOpenFake(t, h, row.o)
				grabN(t, l, 3)
				within(t, row.want, row.want, "noticing", func() {
					if err := l.Grab(t.Context()); !errors.Is(err, ErrStalled) {
						t.Error(err)
					}
				})
				if err := l.Grab(t.Context()); !errors.Is(err, ErrStalled) { // and it stays so
					t.Error(err)
				}
				within(t, closeLimit, closeLimit, "closing", func() { _ = l.Close() })
				_ = l.Close()
				if Abandoned() != 1 || h.stops.Load() != 1 || h.frees.Load() != 0 {
					t.Errorf("%d abandoned, stopped %d times, freed %d times", Abandoned(), h.stops.Load(), h.frees.Load())
				}
				close(release)
				synctest.Wait()
				if Abandoned() != 0 || h.frees.Load() != 1 {
					t.Errorf("%d abandoned, freed %d times", Abandoned(), h.frees.Load())
				}
				within(t, 0, 0, "closing what is closed", func() { _ = l.Close() })
			})
		})
	}
}

// The measured rate counts where the camera claims another: one that has become slow is not taken for dead.
func TestPatienceFollowsTheMeasuredRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &fakeHandle{grabs: func(n int) (time.Duration, bool) {
			time.Sleep(min(time.Duration(n)*200*time.Millisecond, 3*time.Second))
			return 0, true
		}}
		l := mustOpenFake(t, h, Options{})
		defer l.Close()
		if got := l.patience(); got != openLimit {
			t.Errorf("the first picture may take %v", got)
		}
		grabN(t, l, 60)
		if got := l.patience(); got < 8500*time.Millisecond || got > 9*time.Second {
			t.Errorf("at one in three seconds it waits %v", got)
		}
	})
}

func TestTooManyAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		for range maxAbandoned {
			l := mustOpenFake(t, &fakeHandle{grabs: hang(release, 0)}, Options{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if err := l.Grab(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
			_ = l.Close()
		}
		h := &fakeHandle{}
		if _, err := openFake(t.Context(), h, Options{}); !errors.Is(err, ErrTooManyAbandoned) || h.frees.Load() != 1 {
			t.Errorf("%v, freed %d times", err, h.frees.Load())
		}
		close(release)
		synctest.Wait()
		l := mustOpenFake(t, h, Options{})
		_ = l.Close()
	})
}

// Opening has an end, whatever the driver does.
func TestOpenHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &fakeHandle{opens: func() bool { <-release; return true }}
		within(t, openLimit, openLimit+openGrace+closeLimit, "giving up", func() {
			if _, err := openFake(t.Context(), h, Options{}); !errors.Is(err, ErrStalled) {
				t.Error(err)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		within(t, time.Second, time.Second+closeLimit, "minding the context", func() {
			if _, err := openFake(ctx, h, Options{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		if Abandoned() != 2 {
			t.Errorf("%d abandoned", Abandoned())
		}
		close(release)
		synctest.Wait()
		if Abandoned() != 0 || h.frees.Load() != 2 {
			t.Errorf("%d abandoned, freed %d times", Abandoned(), h.frees.Load())
		}
	})
}

// A Grab that was given up is not lost, and Close ends one that waits.
func TestGrabMindsContextAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := &fakeHandle{grabs: func(n int) (time.Duration, bool) { <-release; return 1, true }}
		l := mustOpenFake(t, h, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		within(t, time.Second, time.Second, "the context", func() {
			if err := l.Grab(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
		var f engine.Frame
		if err := l.Retrieve(&f); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("retrieved what never arrived: %v", err)
		}
		release <- struct{}{}
		if err := l.Read(t.Context(), &f); err != nil || f.Seq != 0 || h.n != 1 {
			t.Errorf("%v, number %d after %d grabs", err, f.Seq, h.n)
		}
		time.AfterFunc(time.Second, func() { _ = l.Close() })
		within(t, time.Second, time.Second, "closing", func() {
			if err := l.Grab(t.Context()); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
		close(release)
		synctest.Wait()
		if err := l.Retrieve(&f); !errors.Is(err, io.EOF) || h.frees.Load() != 1 {
			t.Errorf("%v, freed %d times", err, h.frees.Load())
		}
	})
}

// Pictures that nobody looks at are not converted, and the time in the stream never runs back.
func TestSequenceAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := []int{100, 140, 180, 20, 60, 60, 90000, 90040, -1, 90080, 90120} // ms; the camera's clock is set, stands and is missing
		h := &fakeHandle{grabs: func(n int) (time.Duration, bool) {
			time.Sleep(41 * time.Millisecond)
			return time.Duration(at[n]) * time.Millisecond, true
		}}
		l := mustOpenFake(t, h, Options{Name: "cam"})
		defer l.Close()
		var f engine.Frame
		var pts []int
		for n := range at {
			if err := l.Grab(t.Context()); err != nil {
				t.Fatal(err)
			}
			grabbedAt := time.Now()
			time.Sleep(time.Millisecond) // the decision takes a while
			if n%2 == 1 {
				continue
			}
			if err := l.Retrieve(&f); err != nil || f.Seq != uint64(n) || !f.CapturedAt.Equal(grabbedAt) {
				t.Errorf("%v, number %d at %v, want %d at %v", err, f.Seq, f.CapturedAt, n, grabbedAt)
			}
			pts = append(pts, int(f.PTS.Milliseconds()))
		}
		if want := []int{0, 80, 162, 246, 328, 410}; !slices.Equal(pts, want) {
			t.Errorf("PTS %v, want %v", pts, want)
		}
		if h.retrieved != len(pts) {
			t.Errorf("%d converted of %d looked at", h.retrieved, len(pts))
		}
	})
}

func TestLiveDoesNotAllocate(t *testing.T) {
	l := mustOpenFake(t, &fakeHandle{}, Options{})
	defer l.Close()
	var f engine.Frame
	ctx := context.Background()
	if n := testing.AllocsPerRun(200, func() {
		if err := l.Read(ctx, &f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a picture, want 0", n)
	}
}
