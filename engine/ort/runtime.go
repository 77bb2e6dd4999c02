// Package ort runs ONNX models: it loads the ONNX Runtime library, inside the binary or by path, and makes
// sessions whose tensors are bound once and reused.
//
// All native memory has one owner: a Session owns its tensors, a Runtime owns the library and counts what its
// sessions hold (see Runtime.Live).
package ort

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	ortgo "github.com/yalue/onnxruntime_go"
	"golang.org/x/sys/unix"
)

// RuntimeOptions says which library to load.
type RuntimeOptions struct {
	// Library is the path of a libonnxruntime.so; empty: the embedded one.
	Library string
	// Embedded writes the embedded library to w. Needed when Library is empty.
	Embedded func(w io.Writer) error
	// Plugins are libraries with execution providers, by path. One that is of no use is an error only for the models that
	// ask for it; Runtime.Providers says what is wrong with it.
	Plugins []string
	// PlainMalloc leaves C's memory allocator as it is, to measure against.
	PlainMalloc bool
}

// Runtime is the loaded library. A process has at most one at a time.
type Runtime struct {
	library string
	api     api
	plugins []*plugin    // never changes before Close
	live    atomic.Int64 // bytes of C memory held by sessions
	closed  atomic.Bool
}

// NewRuntime loads the library, starts the runtime's environment and registers the plugins. The embedded library goes
// through memory only; where the kernel refuses that, through a private file that is removed before NewRuntime returns.
func NewRuntime(o RuntimeOptions) (*Runtime, error) {
	if ortgo.IsInitialized() {
		return nil, errors.New("ONNX Runtime is loaded already: a process can hold one at a time")
	}
	if !o.PlainMalloc {
		tuneMalloc()
	}
	r, err := load(o)
	if err != nil {
		return nil, err
	}
	r.register(o.Plugins)
	return r, nil
}

func load(o RuntimeOptions) (*Runtime, error) {
	if o.Library != "" {
		if err := checkLibrary(o.Library); err != nil {
			return nil, err
		}
		table, err := initialise(o.Library)
		if err != nil {
			return nil, fmt.Errorf("load ONNX Runtime from %s: %w", o.Library, err)
		}
		return &Runtime{library: o.Library, api: table}, nil
	}
	if o.Embedded == nil {
		return nil, errors.New("no ONNX Runtime: set engine.library to the path of a libonnxruntime.so")
	}
	table, memErr := throughMemory(o.Embedded)
	if memErr == nil {
		return &Runtime{library: embeddedLibrary, api: table}, nil
	}
	var kernel *refusedError
	if !errors.As(memErr, &kernel) {
		return nil, fmt.Errorf("load the embedded ONNX Runtime: %w", memErr)
	}
	table, err := throughFile(o.Embedded)
	if err != nil {
		return nil, fmt.Errorf("load the embedded ONNX Runtime: %w (and from memory: %w)", err, memErr)
	}
	return &Runtime{library: embeddedLibrary, api: table}, nil
}

// Library tells where the library came from: a path, or embeddedLibrary.
func (r *Runtime) Library() string { return r.library }

// Version is ONNX Runtime's own version, such as 1.29.0.
func (r *Runtime) Version() string { return ortgo.GetVersion() }

// Live is the number of bytes of C memory that open sessions hold for their tensors; 0 when all are closed.
func (r *Runtime) Live() int64 { return r.live.Load() }

// Close ends the runtime and unloads the library. All sessions must be closed. It is idempotent.
func (r *Runtime) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	err := r.unregister()
	if e := ortgo.DestroyEnvironment(); e != nil {
		err = errors.Join(err, fmt.Errorf("end ONNX Runtime: %w", e))
	}
	return err
}

// embeddedLibrary is what Library returns for the library inside the binary.
const embeddedLibrary = "embedded"

// telemetryOff are the variables by which ONNX Runtime's own telemetry is switched off before it begins: the one that
// 1.29 knows and the one of later versions. Its interface has a switch too, but only for an environment that exists,
// and by then a device id is on the disk and a first report on its way.
var telemetryOff = [...]string{"ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"}

func initialise(path string) (api, error) {
	// A device reports to its owner and to nobody else.
	for _, name := range telemetryOff {
		if err := os.Setenv(name, "1"); err != nil {
			return api{}, fmt.Errorf("switch off the telemetry of ONNX Runtime: %w", err)
		}
	}
	ortgo.SetSharedLibraryPath(path)
	// What the runtime writes to stderr by itself comes back as an error where it matters.
	if err := ortgo.InitializeEnvironment(ortgo.WithLogLevelFatal()); err != nil {
		return api{}, errors.New(explainLoad(err.Error()))
	}
	return findAPI(path), nil
}

// explainLoad adds what to do to the loader's most common complaints.
func explainLoad(msg string) string {
	switch {
	case strings.Contains(msg, "libstdc++.so.6"):
		return msg + "; install the C++ runtime: apt-get install libstdc++6"
	case strings.Contains(msg, "Error setting ORT API base"):
		return msg + "; the library is older than gnomon needs: use ONNX Runtime 1.24 or newer"
	}
	return msg
}

func checkLibrary(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("ONNX Runtime library (engine.library): %w", err)
	case st.IsDir():
		return fmt.Errorf("ONNX Runtime library (engine.library): %s is a directory; name the file, such as %s", path, filepath.Join(path, "libonnxruntime.so"))
	}
	if err := checkELF(path, "OrtGetApiBase"); err != nil {
		return fmt.Errorf("ONNX Runtime library (engine.library): %w", err)
	}
	return nil
}

// refusedError marks what the kernel did not allow, as opposed to a broken or missing library.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// throughMemory loads the library from an anonymous file in memory. The descriptor may be closed once the loader
// has mapped it.
func throughMemory(embedded func(io.Writer) error) (api, error) {
	fd, err := unix.MemfdCreate("onnxruntime", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // kernels before 6.3 do not know MFD_EXEC
		fd, err = unix.MemfdCreate("onnxruntime", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return api{}, &refusedError{fmt.Errorf("memfd_create: %w", err)}
	}
	f := os.NewFile(uintptr(fd), "onnxruntime")
	defer func() { _ = f.Close() }()
	if err := embedded(f); err != nil {
		return api{}, err
	}
	table, err := initialise(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return api{}, &refusedError{err}
	}
	return table, nil
}

// throughFile loads the library from a private file, removed as soon as it is mapped.
func throughFile(embedded func(io.Writer) error) (api, error) {
	var errs []error
	for _, dir := range privateDirs() {
		table, err := throughFileIn(dir, embedded)
		if err == nil {
			return table, nil
		}
		errs = append(errs, err)
	}
	return api{}, fmt.Errorf("%w; set TMPDIR to a directory from which programs may be run", errors.Join(errs...))
}

func privateDirs() []string {
	dirs := []string{os.TempDir()} // may be mounted noexec
	if d, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(d, "gnomon"))
	}
	return dirs
}

func throughFileIn(dir string, embedded func(io.Writer) error) (api, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return api{}, err
	}
	f, err := os.CreateTemp(dir, "onnxruntime-*.so") // mode 0600
	if err != nil {
		return api{}, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	err = errors.Join(embedded(f), f.Chmod(0o500), f.Close())
	if err != nil {
		return api{}, err
	}
	return initialise(f.Name())
}
