package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gnomon/models/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// model is an artefact of the tests.
type model struct {
	name    string
	release int64
	version string
}

func (m model) sha() string { return digest("artefact " + m.name) }
func (m model) uri() string { return "s3://bucket/" + m.name + ".tar" }

// entry is a desired entry that differs from the usual one in what change says.
func (m model) entry(change map[string]any) map[string]any {
	e := map[string]any{"uri": m.uri(), "sha256": m.sha()}
	for k, v := range change {
		if e[k] = v; v == nil {
			delete(e, k)
		}
	}
	return e
}

func desired(slots map[string]any) json.RawMessage {
	raw, err := json.Marshal(map[string]any{"models": slots, "settings": 1})
	if err != nil {
		panic(err)
	}
	return raw
}

func one(m model) json.RawMessage { return desired(map[string]any{"default": m.entry(nil)}) }

// coded is an error of a Source or Host with a code.
type coded struct {
	code      string
	temporary bool
}

func (c coded) Error() string   { return "the fake says " + c.code }
func (c coded) Code() string    { return c.code }
func (c coded) Temporary() bool { return c.temporary }

// world is everything outside the Deployer: the cloud's artefacts and the machine's models. It outlives a Deployer, as
// the cloud outlives a device's process. Hooks return an error or block; nil hooks do nothing.
type world struct {
	mu       sync.Mutex
	models   map[string]model // by digest
	tags     map[string]string
	calls    map[string]int // by kind
	fetching int            // at this moment
	probing  int
	loaded   []*loaded
	current  map[string]*loaded
	faults   []string
	unready  bool                                              // what Start returns cannot be loaded
	hook     func(ctx context.Context, what, sha string) error // fetch, fetched, resolve, probe, load, swap
	health   func(sha string) Health
	damage   func(dir string, f *Fetched)
}

func newWorld(all ...model) *world {
	w := &world{
		models: map[string]model{}, tags: map[string]string{}, calls: map[string]int{}, current: map[string]*loaded{},
		hook: func(context.Context, string, string) error { return nil },
		health: func(string) Health {
			return Health{Begun: 500, Frames: 500, Detections: 500, Median: 10 * time.Millisecond}
		},
		damage: func(string, *Fetched) {},
	}
	for _, m := range all {
		w.models[m.sha()] = m
	}
	return w
}

// loaded is a model in memory: Close poisons what a frame reads.
type loaded struct {
	sha    string
	weight []int
	closed int
}

func (l *loaded) Close() error {
	clear(l.weight)
	l.closed++
	return nil
}

// call counts and then does what the test wants, in a little time of its own.
func (w *world) call(ctx context.Context, what, sha string) error {
	w.mu.Lock()
	w.calls[what]++
	hook := w.hook
	w.mu.Unlock()
	if !sleep(ctx, 10*time.Millisecond) { // so that nothing takes no time at all
		return ctx.Err()
	}
	return hook(ctx, what, sha)
}

func (w *world) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[what]
}

func (w *world) set(hook func(ctx context.Context, what, sha string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// alone notes when two things happen at once that must not.
func (w *world) alone(n *int, what string) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if *n++; *n > 1 {
		w.fault("%d %s at once", *n, what)
	}
	return func() {
		w.mu.Lock()
		*n--
		w.mu.Unlock()
	}
}

func (w *world) Resolve(ctx context.Context, uri string) (string, error) {
	if err := w.call(ctx, "resolve", ""); err != nil {
		return "", err
	}
	repository, tag, _ := strings.Cut(strings.TrimPrefix(uri, "oci://"), ":")
	w.mu.Lock()
	defer w.mu.Unlock()
	return "oci://" + repository + "@sha256:" + w.tags[tag], nil
}

func (w *world) Fetch(ctx context.Context, r FetchRequest) (Fetched, error) {
	defer w.alone(&w.fetching, "downloads")()
	r.Progress(5, 100)
	if err := w.call(ctx, "fetch", r.SHA256); err != nil {
		return Fetched{}, err
	}
	m, ok := w.models[r.SHA256]
	if !ok {
		return Fetched{}, coded{"not_found", false}
	}
	f := Fetched{SHA256: r.SHA256, URI: m.uri(), FilesDir: filepath.Join(r.Dir, "files")}
	f.Meta = store.Meta{Name: m.name, Version: m.version, Release: m.release}
	if err := os.MkdirAll(f.FilesDir, 0o700); err != nil {
		return Fetched{}, err
	}
	for _, name := range []string{"model.onnx", "weights.bin"} {
		text := strings.Repeat(m.name+" "+name+"\n", 20)
		f.Meta.Files = append(f.Meta.Files, store.File{Name: name, Size: int64(len(text)), SHA256: digest(text)})
		for _, part := range []string{text[:len(text)/2], text} {
			if err := os.WriteFile(filepath.Join(f.FilesDir, name), []byte(part), 0o600); err != nil {
				return Fetched{}, err
			}
			r.Progress(50, 100)
			if err := w.hookNow(ctx, "write", r.SHA256); err != nil {
				return Fetched{}, err
			}
		}
	}
	w.damage(f.FilesDir, &f)
	return f, nil
}

func (w *world) hookNow(ctx context.Context, what, sha string) error {
	w.mu.Lock()
	hook := w.hook
	w.mu.Unlock()
	return hook(ctx, what, sha)
}

func (w *world) Probe(ctx context.Context, _ string, v *store.Version) error {
	defer w.alone(&w.probing, "probes")()
	return w.call(ctx, "probe", v.SHA256)
}

func (w *world) Load(ctx context.Context, _ string, v *store.Version) (Loaded, error) {
	sha := ""
	if v != nil {
		sha = v.SHA256
		if _, err := os.Stat(filepath.Join(v.Dir, "model.onnx")); err != nil {
			return nil, err
		}
	}
	if err := w.call(ctx, "load", sha); err != nil {
		return nil, err
	}
	l := &loaded{sha: sha, weight: make([]int, 8)}
	for i := range l.weight {
		l.weight[i] = 1
	}
	w.mu.Lock()
	w.loaded = append(w.loaded, l)
	w.mu.Unlock()
	return l, nil
}

func (w *world) Swap(ctx context.Context, slot string, m Loaded) error {
	l := m.(*loaded)
	if err := w.call(ctx, "swap", l.sha); err != nil {
		return errors.Join(err, l.Close())
	}
	w.mu.Lock()
	old := w.current[slot]
	w.current[slot] = l
	w.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.Close()
}

func (w *world) Health(slot string) Health {
	w.mu.Lock()
	defer w.mu.Unlock()
	sha := ""
	if l := w.current[slot]; l != nil {
		sha = l.sha
	}
	return w.health(sha)
}

// Recent is Health: the fake's cameras see the same by night.
func (w *world) Recent(slot string) Health { return w.Health(slot) }

// frame uses the model that runs, as a camera would; a closed one gives itself away, also to the race detector.
func (w *world) frame(slot string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.current[slot].weight {
		if x != 1 {
			w.fault("a frame met a closed model")
			return
		}
	}
}

// runs is the digest of what runs in a slot; "" is the built-in model.
func (w *world) runs(slot string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current[slot].sha
}

// audit looks for models that leaked or were closed twice.
func (w *world) audit(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.loaded {
		running := 0
		for _, c := range w.current {
			if c == l {
				running = 1
			}
		}
		if l.closed+running != 1 {
			t.Errorf("a model was closed %d times, and runs %d times: %.8s", l.closed, running, l.sha)
		}
	}
	for _, f := range w.faults {
		t.Error(f)
	}
}
