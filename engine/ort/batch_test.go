package ort

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gnomon/engine"
	"gnomon/engine/detect"
	"gnomon/models/onnx"
)

// The pictures of a batch come out as they do alone, whatever their number, for every kind of head and of input.
func TestBatchEqualsSingle(t *testing.T) {
	rt := newRuntime(t)
	for _, row := range []struct {
		file string
		o    SessionOptions
	}{
		{"dynamic.onnx", SessionOptions{Width: 256, Height: 128}},
		{"dynamic.onnx", SessionOptions{Width: 256, Height: 128, Threads: 2}}, // each session has loaded it
		{"", SessionOptions{Width: 6, Height: 4}},
	} {
		t.Run(row.file, func(t *testing.T) {
			o := row.o
			if o.ONNX = sized(t); row.file != "" {
				o.ONNX = file(t, row.file)
			}
			alone, err := rt.Open(o, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, alone)
			o.Batch = 5
			together, err := rt.Open(o, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer closeAll(t, together)
			if p := together[1].Placement(); p.Batch != 5 || p.Gain != 0 || len(p.Notes) != 0 || alone[0].Placement().Batch != 1 {
				t.Errorf("batches of %d, gain %v, notes %q; alone %d", p.Batch, p.Gain, p.Notes, alone[0].Placement().Batch)
			}
			for _, s := range together {
				if s.Batch() != 5 || !reflect.DeepEqual(s.Outputs(), alone[0].Outputs()) {
					t.Fatalf("batches of %d, outputs %v, alone %v", s.Batch(), s.Outputs(), alone[0].Outputs())
				}
				for n := 1; n <= 5; n++ {
					compareWithSingle(t, s, alone[0], n)
				}
			}
		})
	}
}

// file is one of the models of the repository.
func file(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "models", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sized is a model with a second input, that of the sizes, and outputs of several types.
func sized(t *testing.T) []byte {
	t.Helper()
	cast := func(from, to string, number int64) onnx.Node {
		return onnx.Node{OpType: "Cast", Inputs: []string{from}, Outputs: []string{to}, Attrs: []onnx.Attr{onnx.Int("to", number)}}
	}
	m := onnx.Model{IRVersion: 7, Opset: 13, Graph: onnx.Graph{
		Name: "g", Inputs: []onnx.Value{value("images", "float32", -1, 3, 4, 6), value(detect.SizesInput, "int64", -1, 2)},
		Initializers: []onnx.Tensor{onnx.Float32s("thousand", nil, 1000)},
		Nodes: []onnx.Node{
			cast(detect.SizesInput, "boxes", 1), {OpType: "Mul", Inputs: []string{"images", "thousand"}, Outputs: []string{"scores"}}, cast("scores", "labels", 7), cast("images", "half", 10),
		},
		Outputs: []onnx.Value{value("boxes", "float32", -1, 2), value("scores", "float32", -1, 3, 4, 6), value("labels", "int64", -1, 3, 4, 6), value("half", "float16", -1, 3, 4, 6)},
	}}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compareWithSingle runs n pictures of noise in one session together and in the other one by one.
func compareWithSingle(t *testing.T, s, single *Session, n int) {
	t.Helper()
	random := rand.New(rand.NewPCG(7, uint64(n)))
	for i := range n {
		noise(random, s.InputAt(i))
	}
	found, err := s.RunBatch(t.Context(), n)
	if err != nil || len(found) != n {
		t.Fatal(len(found), err)
	}
	for i := range n {
		copy(single.Input().Data, s.InputAt(i).Data)
		want, err := single.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for k := range want {
			if !reflect.DeepEqual(found[i][k], want[k]) { // to the bit: this is not a matter of rounding on a processor
				t.Fatalf("picture %d of %d, output %q: not what it is alone", i, n, want[k].Name)
			}
		}
	}
	if a := testing.AllocsPerRun(5, func() {
		if _, err := s.RunBatch(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}); a != 0 {
		t.Errorf("%v allocations for %d pictures, want 0", a, n)
	}
}

// Bytes in, half precision out, channels last: what is converted is converted for each picture.
func TestBatchOfOtherTypes(t *testing.T) {
	rt := newRuntime(t)
	model := build(t, value("x", "uint8", -1, 2, 2, 3), value("y", "float16", -1, 2, 2, 3), nil,
		onnx.Node{OpType: "Cast", Inputs: []string{"x"}, Outputs: []string{"y"}, Attrs: []onnx.Attr{onnx.Int("to", 10)}})
	sessions, err := rt.Open(SessionOptions{Name: "cast", ONNX: model, Width: 2, Height: 2, NHWC: true, Batch: 3}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, sessions)
	s := sessions[0]
	for i := range 3 {
		in := s.InputAt(i)
		if len(in.Data) != 12 || cap(in.Data) != 12 || !in.NHWC {
			t.Fatalf("input %d: %d of %d bytes", i, len(in.Data), cap(in.Data))
		}
		for k := range in.Data {
			in.Data[k] = byte(20*i + k)
		}
	}
	for _, n := range []int{3, 2, 1} {
		out, err := s.RunBatch(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			for k, v := range out[i][0].Data {
				if v != float32(20*i+k) {
					t.Fatalf("picture %d of %d: element %d is %v", i, n, k, v)
				}
			}
		}
	}
	for _, n := range []int{0, 4} {
		if _, err := s.RunBatch(t.Context(), n); err == nil || !strings.Contains(err.Error(), "from 1 to 3 are possible") {
			t.Errorf("a batch of %d: %v", n, err)
		}
	}
	open := build(t, value("x", "uint8", -1, 2, 2, 3), value("y", "float16", 4, -1), nil, onnx.Node{OpType: "NonZero", Inputs: []string{"x"}, Outputs: []string{"i"}},
		onnx.Node{OpType: "Cast", Inputs: []string{"i"}, Outputs: []string{"y"}, Attrs: []onnx.Attr{onnx.Int("to", 10)}})
	if _, err := rt.Open(SessionOptions{Name: "cast", ONNX: open, Width: 2, Height: 2, NHWC: true}, 1); err == nil || err.Error() != `model cast: output "y" has shape [4 -1] and is float16: export the model with a fixed size, or as float32` {
		t.Errorf("half precision of open size: %v", err)
	}
	s.Interrupt()
	if _, err := s.RunBatch(t.Context(), 2); !errors.Is(err, engine.ErrInterrupted) {
		t.Errorf("after Interrupt: %v", err)
	}
}

// mixing takes the mean of all pictures from each.
func mixing(t *testing.T) []byte {
	return build(t, value("x", "float32", -1, 3, 4, 6), value("y", "float32", -1, 3, 4, 6), nil,
		onnx.Node{OpType: "ReduceMean", Inputs: []string{"x"}, Outputs: []string{"m"}, Attrs: []onnx.Attr{onnx.Ints("axes", 0), onnx.Int("keepdims", 1)}},
		onnx.Node{OpType: "Sub", Inputs: []string{"x", "m"}, Outputs: []string{"d"}}, onnx.Node{OpType: "Add", Inputs: []string{"d", "x"}, Outputs: []string{"y"}})
}

// reshaping was exported with one picture in mind: its output is as long as there are pictures, but says it is one.
func reshaping(t *testing.T, shape ...int64) []byte {
	return build(t, value("x", "float32", -1, 3, 4, 6), value("y", "float32", -1, -1, 6), []onnx.Tensor{onnx.Int64s("to", []int64{3}, shape...)},
		onnx.Node{OpType: "Reshape", Inputs: []string{"x", "to"}, Outputs: []string{"y"}})
}

// Models that take no batch, or mix pictures up, are run one by one, and somebody who has asked for more is told.
func TestNoBatch(t *testing.T) {
	rt := newRuntime(t)
	for _, row := range []struct {
		name  string
		onnx  []byte
		p     Providers
		batch int
		want  int
		note  string // contained in the only one; empty: there is none
	}{
		{"on a processor unless asked for", double(t, -1, 3, 4, 6), Providers{}, 0, 1, ""},
		{"one asked for", double(t, -1, 3, 4, 6), Providers{}, 1, 1, ""},
		{"too many asked for", double(t, -1, 3, 4, 6), Providers{}, 1000, MaxBatch, ""},
		{"fixed", double(t, 1, 3, 4, 6), Providers{}, 4, 1, `the model looks at one picture at a time: its input "x" takes 1 of them: export it with a dynamic batch`},
		{"fixed, nothing asked for", double(t, 1, 3, 4, 6), Providers{}, 0, 1, ""},
		{"reshaped", reshaping(t, 1, 12, 6), Providers{}, 4, 1, "the model looks at one picture at a time: run with 4 of them: "},
		{"reshaped to as much as there is", reshaping(t, 1, -1, 6), Providers{}, 4, 1, "the model looks at one picture at a time: run with 4 of them: "},
		{"no batch in the output", reshaping(t, 2, -1, 6), Providers{}, 4, 1, `the model looks at one picture at a time: "y", of shape [2 6 6] for one, cannot be had for 4`},
		{"one of sizes inside", file(t, "rtdetr.onnx"), Providers{}, 5, 1, "the model looks at one picture at a time: run with 5 of them: "},
		{"one of twelve outputs inside", file(t, "yunet.onnx"), Providers{}, 5, 1, "the model looks at one picture at a time: run with 5 of them: "},
		{"mixing", mixing(t), Providers{}, 4, 4, "the model finds something else in 4 pictures that it is given together than in each alone (engine.batch)"},
		{"recorded", double(t, -1, 3, 4, 6), Providers{Order: []string{CUDA, CPU}, Graph: true}, 4, 4, ""}, // on the processor in the end
	} {
		for _, declared := range []bool{false, true} {
			o := SessionOptions{Name: "m", ONNX: row.onnx, Width: 6, Height: 4, Batch: row.batch, Providers: row.p}
			if strings.HasSuffix(row.name, "inside") {
				o.Width, o.Height = 128, 64
			}
			if declared {
				info, err := onnx.Inspect(row.onnx)
				if err != nil {
					t.Fatal(err)
				}
				o.Inputs, o.Outputs = infos(info.Inputs), infos(info.Outputs)
			}
			sessions, err := rt.Open(o, 2)
			if err != nil {
				t.Errorf("%s: %v", row.name, err)
				continue
			}
			p := sessions[1].Placement()
			if p.Batch != row.want || sessions[0].Batch() != row.want || sessions[1].Batch() != row.want {
				t.Errorf("%s: batches of %d, want %d", row.name, p.Batch, row.want)
			}
			if (row.note == "") != (len(p.Notes) == 0) || len(p.Notes) > 1 || len(p.Notes) == 1 && !strings.Contains(p.Notes[0], row.note) {
				t.Errorf("%s: notes %q, want %q", row.name, p.Notes, row.note)
			}
			if _, err := sessions[1].RunBatch(t.Context(), row.want); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
			closeAll(t, sessions)
		}
	}
}

// infos are descriptions of values of a file, as the program makes them.
func infos(values []onnx.Value) []detect.TensorInfo {
	var all []detect.TensorInfo
	for _, v := range values {
		t := detect.TensorInfo{Name: v.Name, Type: detect.ElementType(v.Type)}
		for _, d := range v.Shape {
			n := d.Value
			if d.Param != "" {
				n = -1
			}
			t.Shape = append(t.Shape, n)
		}
		all = append(all, t)
	}
	return all
}

// Where nobody asks for a number, as on a GPU, batches are taken only if they are right and faster.
func TestBatchIsProved(t *testing.T) {
	rt := newRuntime(t)
	for _, row := range []struct {
		name, want string
		onnx       []byte
	}{{"mixing", "it finds something else in pictures that it is given together", mixing(t)}, {"double", "", double(t, -1, 3, 4, 6)}} {
		sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: row.onnx, Width: 6, Height: 4, Batch: 8}, 1)
		if err != nil {
			t.Fatal(err)
		}
		m := &opening{rt: rt, c: Providers{}.choice()}
		err = sessions[0].proveBatches(m, true)
		var single *singleError
		switch {
		case err == nil && (row.want != "" || m.gain < leastGain):
			t.Errorf("%s: taken, with a gain of %v", row.name, m.gain)
		case err != nil && !errors.As(err, &single):
			t.Errorf("%s: %v", row.name, err)
		case row.want != "" && err != nil && err.Error() != row.want:
			t.Errorf("%s: got %v, want %s", row.name, err, row.want)
		case row.want == "" && err != nil && (!errors.Is(err, errNoGain) || m.gain <= 0 || m.gain >= leastGain):
			t.Errorf("%s: %v with a gain of %v", row.name, err, m.gain)
		}
		closeAll(t, sessions)
	}
}

func TestBatchSizes(t *testing.T) {
	for _, row := range []struct {
		pictures int
		few      bool
		want     []int
	}{{1, true, nil}, {1, false, nil}, {2, true, []int{2}}, {5, false, []int{2, 3, 4, 5}}, {5, true, []int{2, 4, 5}}, {8, true, []int{2, 4, 8}}, {32, true, []int{2, 4, 8, 16, 32}}} {
		if got := sizes(row.pictures, row.few); !slices.Equal(got, row.want) {
			t.Errorf("%d, few %v: %v, want %v", row.pictures, row.few, got, row.want)
		}
	}
	s := &Session{batches: []*batch{{n: 2}, {n: 4}, {n: 5}}}
	for n, want := range map[int]int{2: 2, 3: 4, 4: 4, 5: 5} {
		if got := s.smallest(n).n; got != want {
			t.Errorf("%d pictures go in a batch of %d, want %d", n, got, want)
		}
	}
}

// TensorRT is told which batches there will be, unless the configuration has told it something else.
func TestProfiled(t *testing.T) {
	rt := newRuntime(t)
	sessions, err := rt.Open(SessionOptions{Name: "m", ONNX: sized(t), Width: 6, Height: 4, Batch: 8}, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, sessions)
	given := Providers{Options: map[string]map[string]string{CUDA: {"device_id": "1"}, TensorRT: {"trt_profile_opt_shapes": "mine"}}}
	got := sessions[0].profiled(given).Options
	want := map[string]map[string]string{CUDA: {"device_id": "1"}, TensorRT: {
		"trt_profile_min_shapes": "images:1x3x4x6,orig_target_sizes:1x2",
		"trt_profile_max_shapes": "images:8x3x4x6,orig_target_sizes:8x2", "trt_profile_opt_shapes": "mine",
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if len(given.Options[TensorRT]) != 1 {
		t.Errorf("what was given has changed: %v", given.Options)
	}
}
