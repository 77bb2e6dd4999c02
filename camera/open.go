//go:build opencv

package camera

import (
	"context"
	"strings"

	"gnomon/engine"
)

// Open is OpenContext for those who wait until it is done.
func Open(o Options) (engine.Source, error) { return OpenContext(context.Background(), o) }

// OpenContext opens the source that o describes, turned and cut as o says. The caller closes it. A live source answers within
// about ten seconds or gives up, and within a tenth of a second when ctx ends. Classify's errors and those of the decoder
// name the file and what it seems to be instead; those of live sources wrap one of the errors that this package lists.
func OpenContext(ctx context.Context, o Options) (engine.Source, error) {
	src, err := openKind(ctx, o)
	if err != nil {
		return nil, err
	}
	return orient(o, src), nil
}

func openKind(ctx context.Context, o Options) (engine.Source, error) {
	if o.Files != nil {
		return openFolder(o)
	}
	kind, err := Classify(o.URI)
	if err != nil {
		return nil, err
	}
	switch kind {
	case Folder:
		return openFolder(o)
	case Process:
		return openProcess(o)
	case Generated:
		return openGenerated(o)
	case Device:
		return openDevice(ctx, o)
	case Stream:
		if o.Decoder != "" && strings.HasPrefix(strings.ToLower(o.URI), "rtsp://") { // a program that decodes
			return openProcess(o)
		}
		return openStream(ctx, o)
	}
	return openVideo(o)
}
