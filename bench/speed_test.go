package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArrangements(t *testing.T) {
	for _, c := range []struct {
		cores int
		own   Arrangement
		want  string
	}{
		{1, Arrangement{1, 1}, "1x1"},
		{2, Arrangement{2, 1}, "1x1 2x1 1x2 2x2"},
		{2, Arrangement{1, 3}, "1x1 2x1 1x2 2x2 1x3"},
		{4, Arrangement{4, 1}, "1x1 2x1 3x1 4x1 1x2 2x2 3x2 4x2 1x3 2x3 1x4 2x4"},
		{6, Arrangement{4, 1}, "1x1 2x1 4x1 6x1 1x2 2x2 4x2 6x2 1x4 2x4 1x6 2x6"},
	} {
		var got []string
		for _, a := range Arrangements(c.cores, c.own) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%d cores: %s, want %s", c.cores, strings.Join(got, " "), c.want)
		}
	}
}

func TestPromising(t *testing.T) {
	own := Arrangement{1, 2}
	all := Arrangements(2, own)
	got := Promising(all, map[Arrangement]float64{{1, 1}: 84.9, {2, 1}: 100, {1, 2}: 10, {2, 2}: 85}, own)
	if diff := cmp.Diff([]Arrangement{{2, 1}, {1, 2}, {2, 2}}, got); diff != "" {
		t.Error(diff)
	}
}

// result has rounds with the speeds given, bare in two arrangements.
func result(e2e ...float64) SpeedResult {
	r := SpeedResult{Sessions: 2, Threads: 1}
	r.Model, r.Provider = "m", "cpu"
	for i, v := range e2e {
		r.Rounds = append(r.Rounds, Round{
			Bare: map[string]float64{"2x1": 100 + float64(i), "1x1": 60}, E2E: v, Memory: v + 2, Frames: 10,
			StagesP50: StageMedians{1, 2, 3, 4, 5}, CPU: 20, RunCPU: 15, DecodeCPU: 1, Cores: 1.5, Allocs: 7,
		})
	}
	r.Summarise([]Arrangement{{1, 1}, {2, 1}, {1, 2}}, map[Arrangement]float64{{1, 1}: 80, {2, 1}: 90, {1, 2}: 30})
	return r
}

func TestSummarise(t *testing.T) {
	r := result(80, 90, 70)
	near := func(what string, got, want float64) {
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	near("raw", r.RawFPS, 101)
	near("e2e", r.E2EFPS, 80)
	near("ratio", r.Ratio, 80.0/100) // of 80/100, 90/101, 70/102
	near("in memory", *r.MemoryFPS, 82)
	near("ratio in memory", *r.MemoryRatio, 82.0/100)
	near("ratio of round 2", r.Rounds[1].Ratio, 90.0/101)
	near("CPU", r.CPU.Frame, 20)
	near("CPU outside", r.CPU.Outside, 4)
	near("cores", r.CPU.Cores, 1.5)
	near("allocations", r.Allocs, 7)
	if r.RawArrangement != "2x1" || r.Frames != 30 {
		t.Errorf("arrangement %s, %d frames", r.RawArrangement, r.Frames)
	}
	want := []ArrangementSpeed{{"1x1", 80, 60}, {"2x1", 90, 101}, {"1x2", 30, 0}}
	if diff := cmp.Diff(want, r.Arrangements); diff != "" {
		t.Error(diff)
	}
	for i := range r.Rounds {
		r.Rounds[i].Memory = 0
	}
	r.MemoryFPS = nil
	if r.Summarise([]Arrangement{{2, 1}}, nil); r.MemoryFPS != nil {
		t.Error("a speed from memory that was not measured")
	}
}

// report is one with every field set.
func report() *SpeedReport {
	gpus := []GPU{{"A & B <GPU>", "1.2", 3, 4, 5}}
	r := result(80, 90, 70)
	r.SHA256, r.GPUs, r.Nodes = "abc", gpus, map[string]int{"cpu": 1}
	r.Model = `it's "a" <model> & more`
	for _, q := range []*Quantiles{&r.Stages.Decode, &r.Stages.Preprocess, &r.Stages.Infer, &r.Stages.Postprocess, &r.Stages.Publish} {
		*q = Quantiles{0.5, 0.9, 10}
	}
	return &SpeedReport{Schema: SpeedSchema, SpeedFigures: r.SpeedFigures, Source: "sample", Broker: "embedded", Host: Host{CPU: "x86 <&>", GPUs: gpus}, Results: []SpeedResult{r, result(1, 2)}}
}

// fields lists the paths of a JSON value; elements of arrays are [].
func fields(path string, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			if strings.HasSuffix(path, "bare_fps") || strings.HasSuffix(path, "nodes") {
				key = "*"
			}
			fields(strings.TrimPrefix(path+"."+key, "."), x, into)
		}
	case []any:
		for _, x := range v {
			fields(path+"[]", x, into)
		}
	default:
		into[path] = true
	}
}

// The fields are what scripts of other people read: none is renamed or removed without a new schema, and all are documented.
func TestFieldsAreStable(t *testing.T) {
	doc, err := os.ReadFile("../docs/bench.md")
	if err != nil {
		t.Fatal(err)
	}
	cameras := &CamerasReport{Host: Host{GPUs: []GPU{{}}}, Steps: []CamerasRow{{}}, Soak: &CamerasSoak{}, Memory: []CamerasMemory{{}}}
	comparison := &Comparison{Pairs: []PairChanges{{Changes: []Change{{}}}}, OnlyA: []string{"a"}, OnlyB: []string{"b"}, Notes: []string{"n"}}
	for file, v := range map[string]any{"bench_fields.txt": report(), "cameras_fields.txt": cameras, "compare_fields.txt": comparison} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(data, &tree); err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		fields("", tree, got)
		lines := fmt.Sprintln(strings.Join(slices.Sorted(maps.Keys(got)), "\n"))
		golden, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(golden), lines); diff != "" {
			t.Errorf("%s: -golden +now\n%s", file, diff)
		}
		for path := range got {
			for name := range strings.FieldsFuncSeq(path, func(r rune) bool { return strings.ContainsRune(".[]*", r) }) {
				if !strings.Contains(string(doc), "`"+name+"`") {
					t.Errorf("docs/bench.md does not say what %s is (%s)", name, path)
				}
			}
		}
	}
}
