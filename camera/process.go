//go:build opencv

package camera

import (
	"errors"

	"gnomon/engine"
)

func openProcess(Options) (engine.Source, error) { return nil, errors.ErrUnsupported }
