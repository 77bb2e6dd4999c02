package ort

import (
	"errors"
	"fmt"
	"slices"

	ortgo "github.com/yalue/onnxruntime_go"

	"gnomon/engine"
	"gnomon/engine/detect"
)

// channels of a picture: detectors take colour.
const channels = 3

// describe asks the runtime for the inputs and outputs, shapes inferred. The binding's function makes a session of its
// own to answer, with the default options: one load more than there are sessions.
func (s *Session) describe() (ins, outs []detect.TensorInfo, err error) {
	in, out, err := ortgo.GetInputOutputInfoWithONNXData(s.o.ONNX)
	if err != nil {
		return nil, nil, fmt.Errorf("ONNX Runtime refuses it: %s", plain(err))
	}
	if ins, err = tensorInfos("input", in); err != nil {
		return nil, nil, err
	}
	outs, err = tensorInfos("output", out)
	return ins, outs, err
}

func tensorInfos(kind string, infos []ortgo.InputOutputInfo) ([]detect.TensorInfo, error) {
	var ts []detect.TensorInfo
	for _, i := range infos {
		if i.OrtValueType != ortgo.ONNXTypeTensor {
			return nil, fmt.Errorf("%s %q is a %s; only tensors are supported: export the model without it", kind, i.Name, i.OrtValueType)
		}
		t := elementType(i.DataType)
		if elementSize(t) == 0 {
			return nil, fmt.Errorf("%s %q has elements of type %s, which is not supported; export it as float32", kind, i.Name, t)
		}
		ts = append(ts, detect.TensorInfo{Name: i.Name, Shape: i.Dimensions, Type: t})
	}
	return ts, nil
}

func elementType(t ortgo.TensorElementDataType) detect.ElementType {
	switch t {
	case ortgo.TensorElementDataTypeFloat:
		return detect.Float32
	case ortgo.TensorElementDataTypeFloat16:
		return detect.Float16
	case ortgo.TensorElementDataTypeUint8:
		return detect.Uint8
	case ortgo.TensorElementDataTypeInt8:
		return detect.Int8
	case ortgo.TensorElementDataTypeInt32:
		return detect.Int32
	case ortgo.TensorElementDataTypeInt64:
		return detect.Int64
	}
	return detect.ElementType(t.String())
}

func dataType(t detect.ElementType) ortgo.TensorElementDataType {
	switch t {
	case detect.Float32:
		return ortgo.TensorElementDataTypeFloat
	case detect.Float16:
		return ortgo.TensorElementDataTypeFloat16
	case detect.Uint8:
		return ortgo.TensorElementDataTypeUint8
	case detect.Int8:
		return ortgo.TensorElementDataTypeInt8
	case detect.Int32:
		return ortgo.TensorElementDataTypeInt32
	}
	return ortgo.TensorElementDataTypeInt64
}

// bindPicture settles the shape of the picture's input and binds memory to it.
func (s *Session) bindPicture(in detect.TensorInfo) error {
	want := []int64{1, channels, int64(s.o.Height), int64(s.o.Width)}
	axes := "1x3xHxW"
	if s.o.NHWC {
		want, axes = []int64{1, int64(s.o.Height), int64(s.o.Width), channels}, "1xHxWx3"
	}
	if len(in.Shape) != len(want) {
		return fmt.Errorf("input %q has shape %v; a picture is %s", in.Name, in.Shape, axes)
	}
	for i, d := range in.Shape {
		if d > 0 && d != want[i] {
			return fmt.Errorf("input %q has shape %v and is to be fed %v (%s); check input.width, input.height and input.layout in the manifest", in.Name, in.Shape, want, axes)
		}
	}
	switch in.Type {
	case detect.Float32, detect.Float16, detect.Uint8:
	default:
		return fmt.Errorf("input %q takes %s; pictures can be given as float32, float16 or uint8", in.Name, in.Type)
	}
	v, mem, err := s.tensor(detect.TensorInfo{Name: in.Name, Shape: want, Type: in.Type})
	if err != nil {
		return fmt.Errorf("input %q: %w", in.Name, err)
	}
	s.feeds.add(in.Name, v)
	s.input = engine.Input{Data: mem[:len(mem)/s.room], Type: in.Type, Width: s.o.Width, Height: s.o.Height, NHWC: s.o.NHWC}
	return nil
}

// settle finds the shapes that the model leaves open by running it once on an empty picture. Of outputs in float16 only the
// number of pictures may be open.
func (s *Session) settle(so *ortgo.SessionOptions, outs []detect.TensorInfo) error {
	var names []string
	var asked []*detect.TensorInfo
	open := false
	for i := range outs {
		o := &outs[i]
		first := slices.IndexFunc(o.Shape, func(d int64) bool { return d < 1 })
		s.settled = s.settled || first >= 0
		if o.Type == detect.Float16 { // the binding cannot take such an output over
			if first == 0 {
				o.Shape[0], first = 1, slices.IndexFunc(o.Shape[1:], func(d int64) bool { return d < 1 })
			}
			if first >= 0 {
				return fmt.Errorf("output %q has shape %v and is float16: export the model with a fixed size, or as float32", o.Name, o.Shape)
			}
			continue
		}
		names, asked, open = append(names, o.Name), append(asked, o), open || first >= 0
	}
	if !open {
		return nil
	}
	dyn, err := ortgo.NewDynamicAdvancedSessionWithONNXData(s.o.ONNX, s.feeds.names, names, so)
	if err != nil {
		return fmt.Errorf("ONNX Runtime refuses it: %s", plain(err))
	}
	defer func() { _ = dyn.Destroy() }()
	values := make([]ortgo.Value, len(names))
	if err := dyn.Run(s.feeds.values, values); err != nil {
		return fmt.Errorf("trial run to learn the shapes of its outputs: %s", plain(err))
	}
	var errs []error
	for i, v := range values {
		asked[i].Shape = v.GetShape().Clone()
		if err := v.Destroy(); err != nil {
			errs = append(errs, fmt.Errorf("output %q: %w", names[i], err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, o := range outs {
		for _, d := range o.Shape {
			if d < 1 {
				return fmt.Errorf("output %q has shape %v on an empty picture: its size depends on what is seen; export the model with a fixed number of boxes", o.Name, o.Shape)
			}
		}
	}
	return nil
}

func (s *Session) bindOutput(out detect.TensorInfo) (ortgo.Value, error) {
	if len(out.Shape) == 0 {
		return nil, fmt.Errorf("output %q is one number without dimensions, which cannot be read; export the model without it, or with a dimension", out.Name)
	}
	v, mem, err := s.tensor(out)
	if err != nil {
		return nil, fmt.Errorf("output %q: %w", out.Name, err)
	}
	var data []float32
	if out.Type == detect.Float32 {
		data = floats(mem)
	} else {
		data = make([]float32, len(mem)/elementSize(out.Type))
		if err := widen(data, mem, out.Type); err != nil {
			return nil, fmt.Errorf("output %q has type %s: %w", out.Name, out.Type, err)
		}
		s.narrow = append(s.narrow, narrowOutput{index: len(s.outputs), raw: mem, typ: out.Type})
	}
	n := len(data) / s.room
	s.outputs = append(s.outputs, detect.Tensor{Name: out.Name, Shape: out.Shape, Data: data[:n:n]})
	s.whole = append(s.whole, data)
	return v, nil
}

// tensor makes a tensor for one picture over new C memory, which has room for those of a batch. The session owns both.
func (s *Session) tensor(t detect.TensorInfo) (ortgo.Value, []byte, error) {
	n, err := count(t.Shape, t.Type)
	if err != nil {
		return nil, nil, err
	}
	n *= elementSize(t.Type)
	if s.room > 1 && (t.Shape[0] != 1 || n > maxTensorBytes/s.room) {
		return nil, nil, &singleError{fmt.Errorf("%q, of shape %v for one, cannot be had for %d", t.Name, t.Shape, s.room)}
	}
	mem, err := s.rt.alloc(n * s.room)
	if err != nil {
		return nil, nil, err
	}
	s.memory = append(s.memory, mem)
	v, err := ortgo.NewCustomDataTensor(ortgo.NewShape(t.Shape...), mem[:n], dataType(t.Type))
	if err != nil {
		return nil, nil, err
	}
	s.tensors, s.names = append(s.tensors, v), append(s.names, t.Name)
	return v, mem, nil
}

func list(ts []detect.TensorInfo) string {
	text := ""
	for i, t := range ts {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%q %v %s", t.Name, t.Shape, t.Type)
	}
	return text
}
