package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gnomon/camera"
	"gnomon/config"
	"gnomon/engine"
)

// sampleEnv names a file to use as the sample video.
const sampleEnv = "GNOMON_SAMPLE"

// samplePath finds the sample video, which comes beside the binary: with 8 MB it would make every update of the
// agent a fifth larger.
func samplePath() (string, error) {
	if path := os.Getenv(sampleEnv); path != "" {
		return path, nil
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return "", fmt.Errorf("find the sample video: %w", err)
	}
	dir := filepath.Dir(exe)
	for _, path := range []string{filepath.Join(dir, "sample.avi"), filepath.Join(dir, "..", "share", "gnomon", "sample.avi")} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			return path, nil
		}
	}
	return "", fmt.Errorf("the sample video is not beside the binary (%s); copy sample.avi there from the release, or name any video with %s", dir, sampleEnv)
}

// inputPath is what to open for an input: itself, or for the word sample the video that comes with gnomon.
func inputPath(uri string) (string, error) {
	if uri == config.SourceSample {
		return samplePath()
	}
	return uri, nil
}

// openInput opens whatever a source can be, or the sample video. A camera that is slow to answer is given up when ctx ends.
func openInput(ctx context.Context, o camera.Options) (engine.Source, error) {
	path, err := inputPath(o.URI)
	if err != nil {
		return nil, err
	}
	o.URI = path
	return camera.OpenContext(ctx, o)
}
