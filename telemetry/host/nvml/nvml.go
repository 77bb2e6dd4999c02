// Package nvml asks NVIDIA's driver about discrete GPUs, through the library that comes with the driver
// (libnvidia-ml.so.1). Nothing is linked: where there is no driver there is no library, and no GPU to tell of.
//
// It is a rim: the library is C. The calls go through purego, so the package builds with and without cgo.
package nvml

import (
	"sync"
	"time"

	"gnomon/telemetry/host"
)

// DefaultLibrary is the driver's library, found as the system's loader finds it.
const DefaultLibrary = "libnvidia-ml.so.1"

// Limits.
const (
	// patience is how long one look at all GPUs may take: it is milliseconds, but for a driver that hangs.
	patience = 2 * time.Second
	// maxGPUs is more than fit into a machine.
	maxGPUs = 16
	// maxName is NVML_DEVICE_NAME_V2_BUFFER_SIZE of nvml.h.
	maxName = 96
)

// Reader asks the driver. A call that hangs is left to itself, and nothing more is asked before it comes back. Any
// goroutine may use it.
type Reader struct {
	lib      *library
	patience time.Duration

	mu    sync.Mutex
	asked chan []host.GPU // the answer that is waited for; nil: none
}

// Open loads the library and starts it up; an empty name is DefaultLibrary. An error means that there is no driver, or
// none that can be used, which on most machines is as it should be.
func Open(name string) (*Reader, error) {
	if name == "" {
		name = DefaultLibrary
	}
	lib, err := load(name)
	if err != nil {
		return nil, err
	}
	return &Reader{lib: lib, patience: patience}, nil
}

// GPUs tells of all GPUs, nil while the driver does not answer. It is meant for host.Options.
func (r *Reader) GPUs() []host.GPU {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lib == nil {
		return nil
	}
	if r.asked == nil {
		r.asked = make(chan []host.GPU, 1)
		go func(answer chan<- []host.GPU, lib *library) { answer <- lib.gpus() }(r.asked, r.lib)
	}
	limit := time.NewTimer(r.patience)
	defer limit.Stop()
	select {
	case gpus := <-r.asked:
		r.asked = nil
		return gpus
	case <-limit.C:
		return nil
	}
}

// Close ends the use of the library; it stays loaded. While a call hangs there is nothing that could be ended. It is
// idempotent.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	lib := r.lib
	r.lib = nil
	if lib == nil || r.asked != nil {
		return nil
	}
	return lib.end()
}
