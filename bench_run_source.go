package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"gnomon/bench"
	"gnomon/engine"
)

// gatedSource lets frames through only while the gate is open, and times how long reading them takes. The zero gate is
// closed. It satisfies engine.Source.
type gatedSource struct {
	engine.Source

	mu      sync.Mutex
	gate    chan struct{} // closed: open
	reading bool          // a frame has passed the gate and is not delivered yet
	read    uint64
	times   bench.Samples
	cpu     time.Duration // processor time of reading, since the start
}

func newGatedSource(src engine.Source) *gatedSource {
	return &gatedSource{Source: src, gate: make(chan struct{})}
}

// Read waits for the gate, then reads.
func (g *gatedSource) Read(ctx context.Context, f *engine.Frame) error {
	if err := g.pass(ctx); err != nil {
		return err
	}
	runtime.LockOSThread() // whose processor time is read
	cpu, start := threadCPU(), time.Now()
	err := g.Source.Read(ctx, f)
	took, cpu := time.Since(start), threadCPU()-cpu
	runtime.UnlockOSThread()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = false
	if err == nil {
		g.read++
		g.times.Add(took)
		g.cpu += cpu
	}
	return err
}

func (g *gatedSource) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		gate := g.gate
		select {
		case <-gate:
			g.reading = true
			g.mu.Unlock()
			return nil
		default:
		}
		g.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gatedSource) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.gate)
}

func (g *gatedSource) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate = make(chan struct{})
}

// memorySource gives frames that are decoded already, again and again. It satisfies engine.Source.
type memorySource struct {
	frames []engine.Frame // never changed
	seq    uint64
}

const (
	// memoryFrames and memoryBytes bound what is kept decoded: more than the processor's caches hold, so that a frame
	// comes from memory as after decoding.
	memoryFrames = 64
	memoryBytes  = 256 << 20
)

// newMemorySource decodes the first frames of src, at most limit.
func newMemorySource(ctx context.Context, src engine.Source, limit int) (*memorySource, error) {
	m := &memorySource{}
	var f engine.Frame
	defer func() { _ = f.Close() }()
	for bytes := 0; len(m.frames) < limit && bytes < memoryBytes; bytes += len(f.Pix) {
		if err := src.Read(ctx, &f); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		c := f
		c.Buffer = nil
		c.Pix = append([]byte(nil), f.Pix...)
		m.frames = append(m.frames, c)
	}
	if len(m.frames) == 0 {
		return nil, fmt.Errorf("%s has no frames", src.Name())
	}
	return m, nil
}

func (m *memorySource) Name() string { return "memory" }
func (m *memorySource) Live() bool   { return false }
func (m *memorySource) Close() error { return nil }

// Read lends the pixels of the next frame: nobody writes to them.
func (m *memorySource) Read(ctx context.Context, f *engine.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_ = f.Close()
	*f = m.frames[m.seq%uint64(len(m.frames))]
	f.Seq, f.CapturedAt = m.seq, time.Now()
	m.seq++
	return nil
}
