package month

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/engine/letterbox"
	"gnomon/models/deploy"
	"gnomon/models/store"
)

const (
	// between is the time from one frame to the next, so long that a month of two cameras is half a million frames.
	between = 10 * time.Second
	// A hurry comes every so many frames: a few that are faster than the model, so that some are passed over.
	hurryEvery, hurryFrames, hurryBetween = 360, 20, 5 * time.Millisecond
	// inference is how long the fake model takes.
	inference = 20 * time.Millisecond
	// modelBytes is the size of the file of a fake model.
	modelBytes = 64 << 10
)

// open counts what is made and has to be closed.
type open struct{ buffers, sessions atomic.Int64 }

// camera is a live source of pictures of one pixel.
type camera struct {
	name string
	open *open
	seq  uint64
	at   time.Time
}

type picture struct {
	pix  [3]byte
	open *open
}

func (p *picture) Close() error {
	p.open.buffers.Add(-1)
	return nil
}

func (c *camera) Name() string { return c.name }
func (c *camera) Live() bool   { return true }
func (c *camera) Close() error { return nil }

// Read implements engine.Source.
func (c *camera) Read(ctx context.Context, f *engine.Frame) error {
	if err := c.Grab(ctx); err != nil {
		return err
	}
	return c.Retrieve(f)
}

// Grab implements engine.Grabber.
func (c *camera) Grab(ctx context.Context) error {
	wait := between
	if c.seq%hurryEvery >= hurryEvery-hurryFrames {
		wait = hurryBetween
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	c.at = time.Now() // latencies are differences to times of the bubble
	c.seq++
	return nil
}

// Retrieve implements engine.Grabber.
func (c *camera) Retrieve(f *engine.Frame) error {
	p, ok := f.Buffer.(*picture)
	if !ok {
		p = &picture{open: c.open}
		c.open.buffers.Add(1)
		f.Buffer = p
	}
	f.Pix, f.Width, f.Height, f.Stride, f.Format = p.pix[:], 1, 1, len(p.pix), engine.BGR24
	f.Seq, f.CapturedAt = c.seq-1, c.at
	return nil
}

// lane is a fake model: preprocessor, session and decoder.
type lane struct {
	input [1]byte
	out   [1]detect.Tensor
	runs  int
	open  *open
}

func (l *lane) Process(*engine.Frame, letterbox.Transform, engine.Input) error { return nil }
func (l *lane) Outputs() []detect.TensorInfo                                   { return nil }
func (l *lane) Interrupt()                                                     {}
func (l *lane) Classes() int                                                   { return 3 }

func (l *lane) Input() engine.Input {
	return engine.Input{Data: l.input[:], Type: detect.Uint8, Width: 1, Height: 1}
}

func (l *lane) Run(context.Context) ([]detect.Tensor, error) {
	time.Sleep(inference)
	l.runs++
	return l.out[:], nil
}

// Decode finds one to three boxes.
func (l *lane) Decode(_ []detect.Tensor, dst []detect.Detection) ([]detect.Detection, error) {
	for i := range 1 + l.runs%3 {
		dst = append(dst, detect.Detection{Box: detect.Box{X2: 1, Y2: 1}, Score: 0.9 - 0.1*float32(i), ClassID: i})
	}
	return dst, nil
}

// Close is called twice, as session and as preprocessor.
func (l *lane) Close() error {
	l.open.sessions.Add(-1)
	return nil
}

// newModel has one lane: with more, one worker would wait for a lock while another waits for the camera, and a bubble's
// clock stands still while somebody waits for a lock.
func newModel(name, version string, o *open) *engine.Model {
	l := &lane{open: o}
	o.sessions.Add(2)
	return &engine.Model{
		Info:  engine.ModelInfo{Name: name, Version: version, SHA256: digest(name + version), Labels: []string{"person", "car", "dog"}},
		Lanes: []*engine.Lane{engine.NewLane(l, l, l, letterbox.Stretch)},
	}
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// host is deploy.Host over one slot.
type host struct {
	slot *engine.Slot
	open *open
}

type loaded struct{ model *engine.Model }

func (l loaded) Close() error { return l.model.Close() }

func (h host) Probe(context.Context, string, *store.Version) error { return nil }

func (h host) Load(_ context.Context, _ string, v *store.Version) (deploy.Loaded, error) {
	if v == nil {
		return loaded{newModel("builtin", "", h.open)}, nil
	}
	data, err := os.ReadFile(filepath.Join(v.Dir, v.Files[0].Name))
	if err != nil || len(data) != modelBytes {
		return nil, errors.Join(err, fmt.Errorf("the file of version %s has %d bytes", v.Version, len(data)))
	}
	return loaded{newModel(v.Name, v.Version, h.open)}, nil
}

func (h host) Swap(ctx context.Context, _ string, m deploy.Loaded) error {
	return h.slot.Swap(ctx, m.(loaded).model) //nolint:forcetypeassert // it came from Load
}

func (h host) Health(string) deploy.Health { return healthOf(h.slot.Health()) }
func (h host) Recent(string) deploy.Health { return healthOf(h.slot.Recent()) }

func healthOf(g engine.Health) deploy.Health {
	return deploy.Health{
		Begun: g.Begun, Frames: g.Frames, Errors: g.Errors, NotFinite: g.NotFinite, Detections: g.Detections, Median: g.Median,
	}
}

// again exchanges the model for another of the same name.
func (h host) again(ctx context.Context) error {
	info := h.slot.Info()
	return h.slot.Swap(ctx, newModel(info.Name, info.Version, h.open))
}

// shelf is deploy.Source: every release is there.
type shelf struct{}

func modelFile(release int64) []byte {
	data := make([]byte, modelBytes)
	copy(data, fmt.Sprintf("release %d", release))
	return data
}

// desiredModel is the member models of a desired document.
func desiredModel(release int64) map[string]any {
	return map[string]any{"default": map[string]any{
		"uri": fmt.Sprintf("s3://models/%d.tar", release), "sha256": digest(string(modelFile(release))), "release": release,
		"version": fmt.Sprintf("%d.0", release),
	}}
}

func (shelf) Resolve(_ context.Context, uri string) (string, error) { return uri, nil }

func (shelf) Fetch(_ context.Context, r deploy.FetchRequest) (deploy.Fetched, error) {
	var release int64
	if _, err := fmt.Sscanf(r.URI, "s3://models/%d.tar", &release); err != nil {
		return deploy.Fetched{}, err
	}
	data := modelFile(release)
	if err := os.WriteFile(filepath.Join(r.Dir, "model.onnx"), data, 0o600); err != nil {
		return deploy.Fetched{}, err
	}
	file := store.File{Name: "model.onnx", Size: int64(len(data)), SHA256: digest(string(data))}
	return deploy.Fetched{
		SHA256: r.SHA256, URI: r.URI, FilesDir: r.Dir,
		Meta: store.Meta{Name: "model", Version: fmt.Sprintf("%d.0", release), Release: release, Files: []store.File{file}},
	}, nil
}
