package main

import (
	"context"
	"errors"
	"time"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/engine"
)

// soakWindow is how long the beginning and the end of a soak are, if it is long enough.
const soakWindow = time.Minute

// full is how many frames of one source the model takes a second, if that gives them as fast as they are taken.
func (b *camerasBench) full(ctx context.Context, slot *engine.Slot, link *benchLink) (fps float64, err error) {
	src, err := openInput(ctx, camera.Options{Name: "full", URI: b.source, Loop: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	f, err := startFlow(src, slot, link)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	s, err := f.measure(ctx, b.duration)
	if err != nil {
		return 0, err
	}
	return s.fps(), nil
}

// soaked measures the beginning and the end of a long time in which all cameras together send more than the model takes.
func (b *camerasBench) soaked(ctx context.Context, fits float64, slot *engine.Slot, link *benchLink) (_ *bench.CamerasSoak, err error) {
	each := min(bench.CamerasSoakLoad*fits/float64(b.to), maxFPS)
	cameras, err := b.start(ctx, b.to, each, slot, link)
	defer func() { err = errors.Join(err, stopCameras(cameras)) }()
	if err != nil {
		return nil, err
	}
	window := min(soakWindow, b.soak/3)
	r := &bench.CamerasSoak{Seconds: b.soak.Seconds(), FPS: each}
	first, err := b.measureCameras(ctx, window, each, cameras, link)
	if err != nil {
		return nil, err
	}
	if err := b.pass(ctx, b.soak-2*window, cameras); err != nil {
		return nil, err
	}
	last, err := b.measureCameras(ctx, window, each, cameras, link)
	if err != nil {
		return nil, err
	}
	r.First, r.Last = *first, *last
	return r, nil
}
