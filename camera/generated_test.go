//go:build opencv

package camera

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"gnomon/camera/testcard"
	"gnomon/engine"
	"gnomon/engine/scene"
)

// generatedSource opens test: and returns its Grabber.
func generatedSource(t *testing.T, o Options) engine.Grabber {
	t.Helper()
	o.URI = "test:"
	src, err := openGenerated(o)
	if err != nil {
		t.Fatal(err)
	}
	g := src.(engine.Grabber)
	t.Cleanup(func() {
		if err := errors.Join(g.Close(), g.Close()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// The picture with a number shows what the card of that size and rate says, whoever was passed over before it, and every
// byte is the card's.
func TestGenerated(t *testing.T) {
	leakFree(t)
	g := generatedSource(t, Options{Name: "card", Width: 320, Height: 240, FPS: 200})
	if !g.Live() || g.Name() != "card" {
		t.Error("a test picture is live")
	}
	var f engine.Frame
	defer func() { _ = f.Close() }()
	if err := g.Retrieve(&f); err == nil {
		t.Error("a picture before the first grab")
	}
	card, want := testcard.New(320, 240, 200), make([]byte, 3*320*240)
	start, last := time.Now(), time.Duration(-1)
	for n := range uint64(30) {
		if err := g.Grab(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n%3 == 1 {
			continue // nobody looks
		}
		if err := g.Retrieve(&f); err != nil {
			t.Fatal(err)
		}
		card.Draw(n, want, 3*320)
		if f.Seq != n || f.Width != 320 || f.Height != 240 || string(f.Pix) != string(want) || f.PTS <= last || f.CapturedAt.Before(start) {
			t.Fatalf("picture %d: number %d, %dx%d at %v, the card's: %v", n, f.Seq, f.Width, f.Height, f.PTS, string(f.Pix) == string(want))
		}
		last = f.PTS
	}
	if last < 29*5*time.Millisecond {
		t.Errorf("30 pictures at 200 a second took %v", last)
	}
	// A late reader finds the next picture at once, and no more than that are waiting.
	time.Sleep(50 * time.Millisecond)
	late := time.Now()
	for range 4 {
		if err := g.Read(t.Context(), &f); err != nil {
			t.Fatal(err)
		}
		if f.CapturedAt.Before(late) {
			t.Error("an old picture")
		}
	}
	if took := time.Since(late); took < 15*time.Millisecond || f.Seq != 33 {
		t.Errorf("four pictures after a pause took %v, the last is number %d", took, f.Seq)
	}
	if n := testing.AllocsPerRun(10, func() { _ = g.Read(context.Background(), &f) }); n > 0 {
		t.Errorf("%v allocations for a picture", n)
	}
}

// Close and the end of a context end a Grab that waits.
func TestGeneratedEnds(t *testing.T) {
	for name, end := range map[string]func(g engine.Grabber, cancel func()){
		"close":  func(g engine.Grabber, _ func()) { _ = g.Close() },
		"cancel": func(_ engine.Grabber, cancel func()) { cancel() },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		g := generatedSource(t, Options{FPS: 0.01})
		if err := g.Grab(ctx); err != nil { // the first is there at once
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- g.Grab(ctx) }()
		end(g, cancel)
		select {
		case err := <-ended:
			if !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s does not end a grab", name)
		}
		if err := g.Grab(ctx); err == nil {
			t.Errorf("%s: goes on", name)
		}
	}
}

func TestGeneratedOptions(t *testing.T) {
	for _, c := range []struct {
		o  Options
		ok bool
	}{
		{Options{URI: "test:"}, true},
		{Options{URI: "test:card"}, false},
		{Options{URI: "test:", Width: 20}, false},
		{Options{URI: "test:", Height: 20000}, false},
		{Options{URI: "test:", FPS: -1}, false},
		{Options{URI: "test:", FPS: 1e6}, false},
	} {
		src, err := openGenerated(c.o)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.o, err)
		}
		if src != nil {
			g := src.(*generated)
			if s := g.String(); s != "test picture 1280x720 at 25 frames/s" {
				t.Error(s)
			}
		}
	}
}

// The motion gate before a real street: all of the picture, where somebody walks all the time, the middle of it, and a
// corner that hardly anybody crosses.
func TestSceneOfVideo(t *testing.T) {
	path := os.Getenv("GNOMON_SAMPLE")
	if path == "" {
		t.Skip("needs the sample video: GNOMON_SAMPLE, which the Makefile sets, is empty")
	}
	src, err := Open(Options{Name: "sample", URI: path})
	if err != nil {
		t.Fatal(err)
	}
	parts := []struct {
		name                string
		x, y, width, height int
		least, most         float64 // share of the frames that pass
		passed              int
		watch               *scene.Watch
	}{
		{name: "all", width: 768, height: 576, least: 0.95, most: 1},
		{name: "middle", x: 192, y: 144, width: 192, height: 144, least: 0.95, most: 1},
		{name: "corner", x: 384, width: 192, height: 144, least: 0.01, most: 0.1},
	}
	for i := range parts {
		parts[i].watch = scene.New(scene.Options{Motion: 0.01, FrozenAfter: 5 * time.Second, BlackAfter: 5 * time.Second})
	}
	var f engine.Frame
	frames := 0
	for ; src.Read(t.Context(), &f) == nil; frames++ {
		for i := range parts {
			p := &parts[i]
			if p.watch.Look(f.Pix[p.y*f.Stride+3*p.x:], p.width, p.height, f.Stride, time.Unix(1e9, 0).Add(f.PTS)) {
				p.passed++
			}
			if s := p.watch.State(); s.Frozen || s.Black {
				t.Fatalf("%s, frame %d: %+v", p.name, f.Seq, s)
			}
		}
	}
	for _, p := range parts {
		share := float64(p.passed) / float64(max(1, frames))
		t.Logf("%s: %.1f %% of %d frames pass", p.name, 100*share, frames)
		if share < p.least || share > p.most {
			t.Errorf("%s: not from %v to %v", p.name, p.least, p.most)
		}
	}
	if err := errors.Join(f.Close(), src.Close()); err != nil {
		t.Error(err)
	}
}
