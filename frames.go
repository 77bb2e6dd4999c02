package main

import (
	"context"
	"sync"
	"time"

	"gnomon/engine"
)

// frameWait is how long a trial waits for a picture of a camera; without one it uses the last that was kept, or none.
const frameWait = 2 * time.Second

// grey is the colour of the frame that stands in for one: the padding of most detectors.
const grey = 114

// frameKeeper keeps a copy of a frame, on request, to try models on what the cameras really see. Copying costs as much
// as a memory copy of the picture, so it is done only when somebody asks.
type frameKeeper struct {
	mu     sync.Mutex
	wanted chan struct{} // closed when the next frame has been kept; nil: nobody asks
	kept   *engine.Frame // never changed once here
}

// offer is called with each frame that was looked at.
func (k *frameKeeper) offer(f *engine.Frame) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wanted == nil {
		return
	}
	c := *f
	c.Buffer = nil
	c.Pix = append([]byte(nil), f.Pix...)
	k.kept = &c
	close(k.wanted)
	k.wanted = nil
}

// next is the next frame, the last one that was kept if none comes soon, or nil.
func (k *frameKeeper) next(ctx context.Context) *engine.Frame {
	k.mu.Lock()
	if k.wanted == nil {
		k.wanted = make(chan struct{})
	}
	wanted := k.wanted
	k.mu.Unlock()
	select {
	case <-wanted:
	case <-time.After(frameWait):
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.kept
}

// last is the last frame that was kept, or a grey one of w x h pixels.
func (k *frameKeeper) last(w, h int) *engine.Frame {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept != nil {
		return k.kept
	}
	return greyFrame(w, h)
}

func greyFrame(w, h int) *engine.Frame {
	pix := make([]byte, 3*w*h)
	for i := range pix {
		pix[i] = grey
	}
	return &engine.Frame{Pix: pix, Width: w, Height: h, Stride: 3 * w, Format: engine.BGR24}
}
