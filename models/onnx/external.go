package onnx

import (
	"fmt"
	"strings"
)

// checkLocation accepts the location of external data only if it stays inside the model's folder on every
// system: a model that is copied around must not be able to make a runtime open some other file.
func checkLocation(location string) error {
	refuse := func(why string) error {
		return fmt.Errorf("%w: location %.100q %s; external data must be files beside the model or in folders below it", ErrUnsafePath, location, why)
	}
	elements := strings.FieldsFunc(location, func(r rune) bool { return r == '/' || r == '\\' })
	switch {
	case len(elements) == 0:
		return refuse("names no file")
	case strings.ContainsRune(location, 0):
		return refuse("has a zero byte")
	case location[0] == '/' || location[0] == '\\' || strings.Contains(elements[0], ":"):
		return refuse("is not relative")
	case elements[0] == "*":
		// ONNX Runtime marks tensors that it holds in memory with such a location and takes the offset for an
		// address; in a file it would make the runtime read memory of the writer's choice.
		return refuse("stands for memory")
	}
	for _, element := range elements {
		if element == ".." {
			return refuse("leads out of its folder")
		}
	}
	return nil
}
