//go:build opencv

package camera

import "gnomon/engine"

// Open opens the source that o describes. The caller closes it. Classify's errors and those of the decoder name
// the file and what it seems to be instead.
func Open(o Options) (engine.Source, error) {
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
	}
	return openVideo(o, kind)
}
