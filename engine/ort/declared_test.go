package ort

import (
	"errors"
	"testing"

	"gnomon/engine/detect"
)

// A model is loaded as its file describes it; what the file says wrongly, or does not say, the runtime is asked for.
func TestDescriptionsOfTheFile(t *testing.T) {
	rt := newRuntime(t)
	picture := detect.TensorInfo{Name: "x", Shape: []int64{1, 3, 4, 6}, Type: detect.Float32}
	answer := detect.TensorInfo{Name: "y", Shape: []int64{1, 3, 4, 6}, Type: detect.Float32}
	with := func(t detect.TensorInfo, f func(*detect.TensorInfo)) []detect.TensorInfo {
		f(&t)
		return []detect.TensorInfo{t}
	}
	same := func(*detect.TensorInfo) {}
	for name, c := range map[string]struct {
		ins, outs []detect.TensorInfo
		declared  bool
	}{
		"right":        {with(picture, same), with(answer, same), true},
		"open":         {with(picture, same), with(answer, func(t *detect.TensorInfo) { t.Shape = []int64{-1, 3, -1, 6} }), true},
		"not said":     {nil, nil, false},
		"no shape":     {with(picture, same), with(answer, func(t *detect.TensorInfo) { t.Shape = nil }), false},
		"wrong shape":  {with(picture, same), with(answer, func(t *detect.TensorInfo) { t.Shape = []int64{1, 3, 4, 7} }), false},
		"wrong rank":   {with(picture, same), with(answer, func(t *detect.TensorInfo) { t.Shape = []int64{72} }), false},
		"unknown type": {with(picture, func(t *detect.TensorInfo) { t.Type = "type 16" }), with(answer, same), false},
	} {
		t.Run(name, func(t *testing.T) {
			o := SessionOptions{Name: "double", ONNX: double(t, 1, 3, 4, 6), Width: 6, Height: 4, Inputs: c.ins, Outputs: c.outs, Deadline: DefaultDeadline}
			m := &opening{rt: rt, o: o, c: o.Providers.choice()}
			sessions, err := m.open(1)
			if c.declared != (err == nil && m.declared) {
				t.Errorf("declared %t, %v", m.declared, err)
			}
			for _, s := range sessions {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			sessions, err = rt.Open(o, 2)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range sessions {
				if _, err := s.Run(t.Context()); err != nil {
					t.Error(err)
				}
				if got := s.Outputs()[0]; got.Name != "y" || len(got.Shape) != 4 || got.Shape[3] != 6 {
					t.Errorf("output %+v", got)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if _, err := rt.Open(SessionOptions{Name: "m", ONNX: []byte("nothing"), Inputs: []detect.TensorInfo{picture}, Outputs: []detect.TensorInfo{answer}}, 1); err == nil || errors.Is(err, errDisagrees) {
		t.Errorf("a file that is no model: %v", err)
	}
}
