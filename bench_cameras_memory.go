package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"gnomon/bench"
	"gnomon/camera"
	"gnomon/camera/testcard"
	"gnomon/engine"
	"gnomon/engine/ort"
)

const (
	// rssCameras is how many cameras show what one more takes; fewer if fewer are measured.
	rssCameras = 8

	fullHDWidth, fullHDHeight = 1920, 1080
	clipFrames, clipFPS       = 50, 25 // two seconds, which repeat
)

// memory measures what 1920x1080 cameras of several kinds take.
func (b *camerasBench) memory(ctx context.Context, slot *engine.Slot, link *benchLink) (_ []bench.CamerasMemory, err error) {
	dir, err := os.MkdirTemp("", "gnomon-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	kinds := []struct {
		name string
		open func(name string) (engine.Source, error)
	}{{"a test card", func(name string) (engine.Source, error) {
		return camera.Open(camera.Options{Name: name, URI: "test:", Width: fullHDWidth, Height: fullHDHeight, FPS: b.fps})
	}}}
	clips, err := makeClips(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, clip := range clips {
		kinds = append(kinds, struct {
			name string
			open func(name string) (engine.Source, error)
		}{clip.name, func(name string) (engine.Source, error) {
			return pacedVideo(ctx, camera.Options{Name: name, URI: clip.path, Loop: true}, b.fps, time.Now())
		}})
	}
	var out []bench.CamerasMemory
	for _, kind := range kinds {
		m, err := b.memoryOf(ctx, kind.open, slot, link)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind.name, err)
		}
		m.Source = kind.name
		out = append(out, *m)
		ort.ReleaseMemory()
	}
	return out, nil
}

// memoryOf measures one camera, and some.
func (b *camerasBench) memoryOf(ctx context.Context, open func(string) (engine.Source, error), slot *engine.Slot, link *benchLink) (_ *bench.CamerasMemory, err error) {
	m := &bench.CamerasMemory{Cameras: max(2, min(b.to, rssCameras))}
	var cameras []*watched
	defer func() { err = errors.Join(err, stopCameras(cameras)) }()
	for len(cameras) < m.Cameras {
		src, err := open(fmt.Sprintf("camera-%d", len(cameras)+1))
		if err != nil {
			return nil, err
		}
		c, err := watch(src, slot, link)
		if err != nil {
			return nil, err
		}
		cameras = append(cameras, c)
		if len(cameras) == 1 {
			if m.One, err = b.settled(ctx, cameras); err != nil {
				return nil, err
			}
		}
	}
	m.All, err = b.settled(ctx, cameras)
	return m, err
}

// settled is the resident memory after as long as a step: all frames that are needed have been made.
func (b *camerasBench) settled(ctx context.Context, cameras []*watched) (float64, error) {
	err := b.pass(ctx, b.duration, cameras)
	return residentMB(), err
}

// clip is a video to show.
type clip struct{ name, path string }

// makeClips writes what the cameras show: Motion JPEG, and H.264 as cameras send it, without frames out of order, where
// there is an ffmpeg that can make it.
func makeClips(ctx context.Context, dir string) (_ []clip, err error) {
	path := filepath.Join(dir, "card.avi")
	a, err := camera.NewAnnotator(path, clipFPS)
	if err != nil {
		return nil, err
	}
	card := testcard.New(fullHDWidth, fullHDHeight, clipFPS)
	f := engine.Frame{Pix: make([]byte, 3*fullHDWidth*fullHDHeight), Width: fullHDWidth, Height: fullHDHeight, Stride: 3 * fullHDWidth, Format: engine.BGR24}
	for n := range uint64(clipFrames) {
		card.Draw(n, f.Pix, f.Stride)
		if err := a.Write(&f, nil, nil); err != nil {
			return nil, errors.Join(err, a.Close())
		}
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	out := []clip{{"Motion JPEG", path}}
	h264 := filepath.Join(dir, "card.mp4")
	if err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-i", path, "-c:v", "libx264", "-tune", "zerolatency", "-refs", "1", "-pix_fmt", "yuv420p", h264).Run(); err == nil {
		out = append(out, clip{"H.264", h264})
	}
	return out, nil
}
