//go:build opencv

package camera

import (
	"errors"

	"gnomon/engine"
)

func openGenerated(Options) (engine.Source, error) { return nil, errors.ErrUnsupported }
