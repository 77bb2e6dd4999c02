package detect

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

func (h head) decode(t *testing.T) ([]Detection, error) {
	t.Helper()
	return mustDecoder(t, h.p, infos(h.tensors...)).Decode(h.tensors, nil)
}

// expect spoils fresh heads and checks what each then gives: what was planted, and an error that is want.
func expect(t *testing.T, want error, spoil func(h *head) bool) {
	t.Helper()
	for _, h := range heads() {
		if !spoil(&h) {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			got, err := h.decode(t)
			if !errors.Is(err, want) {
				t.Errorf("error is %v, want %v", err, want)
			}
			same(t, got, []object{h.found}, 2e-3)
		})
	}
}

func TestHeadsAreSound(t *testing.T) {
	expect(t, nil, func(*head) bool { return true })
}

func TestNotFinite(t *testing.T) {
	for _, v := range []float32{nan, -nan, math.Float32frombits(0xffc00000), inf, -inf} {
		t.Run(fmt.Sprintf("%x", math.Float32bits(v)), func(t *testing.T) {
			t.Run("score", func(t *testing.T) {
				expect(t, ErrNotFinite, func(h *head) bool {
					if h.objectness != nil {
						*h.objectness() = 0.9 // the classes count only where there is an object
					}
					*h.score(1) = v
					return true
				})
			})
			t.Run("objectness", func(t *testing.T) {
				expect(t, ErrNotFinite, func(h *head) bool {
					if h.objectness == nil {
						return false
					}
					*h.objectness() = v
					return true
				})
			})
			t.Run("box", func(t *testing.T) {
				expect(t, ErrNotFinite, func(h *head) bool {
					if h.objectness != nil {
						*h.objectness() = 0.9
					}
					*h.score(1) = 0.95
					*h.box(0) = v
					return true
				})
			})
			t.Run("class", func(t *testing.T) {
				expect(t, ErrNotFinite, func(h *head) bool {
					if h.class == nil {
						return false
					}
					*h.score(1), *h.class() = 0.9, v
					return true
				})
			})
		})
	}
}

// A run of nothing but NaN has no detections, whatever the threshold, and says why in one error.
func TestNothingFinite(t *testing.T) {
	for _, threshold := range []float32{0, 0.25, 1} {
		for _, h := range heads() {
			t.Run(fmt.Sprintf("%s %v", h.name, threshold), func(t *testing.T) {
				for _, tensor := range h.tensors {
					for i := range tensor.Data {
						tensor.Data[i] = nan
					}
				}
				h.p.ScoreThreshold = threshold
				got, err := h.decode(t)
				if len(got) != 0 || !errors.Is(err, ErrNotFinite) {
					t.Errorf("got %v, %v", got, err)
				}
			})
		}
	}
}

func TestThreshold(t *testing.T) {
	t.Run("reached", func(t *testing.T) {
		for _, h := range heads() {
			got, err := h.decode(t)
			if err != nil || len(got) != 1 {
				t.Fatalf("%s: got %v, %v", h.name, got, err)
			}
			h.p.ScoreThreshold = got[0].Score
			if again, _ := h.decode(t); !slices.Equal(again, got) {
				t.Errorf("%s: got %v with the detection's score as the threshold, want %v", h.name, again, got)
			}
			h.p.ScoreThreshold = math.Nextafter32(got[0].Score, 2)
			if again, _ := h.decode(t); len(again) != 0 {
				t.Errorf("%s: got %v with a threshold just above the score", h.name, again)
			}
		}
	})
	t.Run("by objectness alone", func(t *testing.T) {
		for _, h := range heads() {
			if h.objectness == nil {
				continue
			}
			*h.objectness(), *h.score(1) = h.p.ScoreThreshold, 1
			if got, err := h.decode(t); err != nil || len(got) != 2 {
				t.Errorf("%s: got %v, %v with objectness on the threshold and a class of 1", h.name, got, err)
			}
		}
	})
	t.Run("zero", func(t *testing.T) {
		// Scores of nothing, less than nothing and minus nothing are no detections.
		for i, v := range []float32{0, -0.5, float32(math.Copysign(0, -1))} {
			for _, h := range heads() {
				for _, tensor := range h.tensors {
					for i := range tensor.Data {
						tensor.Data[i] = v
					}
				}
				h.p.ScoreThreshold = 0
				if got, err := h.decode(t); len(got) != 0 || err != nil {
					t.Errorf("%s, value %d: got %v, %v", h.name, i, got, err)
				}
			}
		}
	})
}

func TestScoreRange(t *testing.T) {
	t.Run("logits", func(t *testing.T) {
		expect(t, ErrScoreRange, func(h *head) bool {
			if h.objectness != nil {
				*h.objectness() = 0.9
			}
			*h.score(1) = 7.5
			return !h.logits
		})
	})
	t.Run("objectness", func(t *testing.T) {
		expect(t, ErrScoreRange, func(h *head) bool {
			if h.objectness == nil {
				return false
			}
			*h.objectness(), *h.score(1) = 7.5, 0.9
			return true
		})
	})
	t.Run("rounding", func(t *testing.T) {
		for _, h := range heads() {
			if h.logits {
				continue
			}
			if h.objectness != nil {
				*h.objectness() = 1.004
			}
			*h.score(1) = 1.004
			got, err := h.decode(t)
			if err != nil || len(got) == 0 || got[0].Score != 1 {
				t.Errorf("%s: got %v, %v, want a score of 1 for 1.004", h.name, got, err)
			}
		}
	})
}

func TestClassRange(t *testing.T) {
	for _, class := range []float32{-1, 3, 65536, 1e30, -1e30, 1.5} {
		tensor := plantEndToEnd(20, good)
		copy(tensor.Data[5*6:], []float32{1, 2, 30, 20, 0.95, class})
		for _, classes := range []int{3, 0} {
			if classes == 0 && class == 3 {
				continue // with no labels any class will do
			}
			got, err := mustDecoder(t, params(EndToEnd, classes, 64, 32), infos(tensor)).Decode([]Tensor{tensor}, nil)
			if !errors.Is(err, ErrClassRange) {
				t.Errorf("class %v of %d: error is %v", class, classes, err)
			}
			same(t, got, []object{good}, 0)
		}
	}
	tensor := plantEndToEnd(3, good, obj(0, 9, 0.5, 1, 2, 3, 4))
	tensor.Data[6+4] = nan
	_, err := mustDecoder(t, params(EndToEnd, 3, 64, 32), infos(tensor)).Decode([]Tensor{tensor}, nil)
	if !errors.Is(err, ErrClassRange) || !errors.Is(err, ErrNotFinite) {
		t.Errorf("error is %v, want both faults in it", err)
	}
}

// Whatever the coordinates, boxes come out in order, with an area, within boxReach of the input.
func TestExtremeBoxes(t *testing.T) {
	values := []float32{0, -1, 50, 1e6, 3e38, -3e38, 1e-45}
	for _, h := range heads() {
		if h.p.Family == NanoDet {
			continue // its boxes are bounded by the bins
		}
		d := mustDecoder(t, h.p, infos(h.tensors...))
		for code := range 7 * 7 * 7 * 7 {
			if h.objectness != nil {
				*h.objectness() = 0.9
			}
			*h.score(1) = 0.95
			for i, c := 0, code; i < 4; i, c = i+1, c/7 {
				*h.box(i) = values[c%7]
			}
			got, err := d.Decode(h.tensors, nil)
			if err != nil {
				t.Fatalf("%s, case %d: %v", h.name, code, err)
			}
			checkSound(t, h.p, got)
		}
	}
}

// checkSound checks everything that Decode promises of any detections.
func checkSound(t *testing.T, p Params, got []Detection) {
	t.Helper()
	b := newBounds(p.InputWidth, p.InputHeight)
	for i, d := range got {
		switch {
		case !finite(d.Box.X1) || !finite(d.Box.Y1) || !finite(d.Box.X2) || !finite(d.Box.Y2) || !finite(d.Score):
			t.Fatalf("%+v is not finite", d)
		case !(d.Box.Area() > 0):
			t.Fatalf("%+v has no area", d)
		case d.Box.X1 < b.min[0] || d.Box.Y1 < b.min[1] || d.Box.X2 > b.max[0] || d.Box.Y2 > b.max[1]:
			t.Fatalf("%+v reaches beyond %+v", d, b)
		case d.Score < p.ScoreThreshold || d.Score <= 0 || d.Score > 1:
			t.Fatalf("%+v has a score out of range", d)
		case d.ClassID < 0 || p.Classes > 0 && d.ClassID >= p.Classes:
			t.Fatalf("%+v has a class out of range", d)
		case i > 0 && got[i-1].Score < d.Score:
			t.Fatalf("%+v comes after %+v", d, got[i-1])
		}
	}
	if len(got) > p.MaxDetections {
		t.Fatalf("%d detections, at most %d asked for", len(got), p.MaxDetections)
	}
}

func TestMaxDetections(t *testing.T) {
	var objects []object
	for i := range 20 {
		objects = append(objects, obj(i, i%3, 0.3+float32(i)/50, float32(i), 0, float32(i)+1, 1))
	}
	slices.Reverse(objects)
	for _, c := range []struct {
		f      Family
		tensor Tensor
	}{
		{YOLOv8, plantYOLOv8(42, 3, false, objects...)},
		{YOLOv5, plantRows(63, 3, objects...)},
		{EndToEnd, plantEndToEnd(30, objects...)},
	} {
		p := params(c.f, 3, 64, 32)
		p.MaxDetections = 7
		got, err := mustDecoder(t, p, infos(c.tensor)).Decode([]Tensor{c.tensor}, nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, objects[:7], 1e-4)
	}
}

// The first of equal classes and of equal rows comes first: quantised models have many.
func TestTiesInDecode(t *testing.T) {
	tensor := plantYOLOv8(42, 3, false, obj(30, 1, 0.5, 1, 1, 9, 9), obj(7, 1, 0.5, 21, 1, 29, 9))
	tensor.Data[(4+2)*42+7] = 0.5 // class 2 as good as class 1
	got, err := mustDecoder(t, params(YOLOv8, 3, 64, 32), infos(tensor)).Decode([]Tensor{tensor}, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []object{obj(7, 1, 0.5, 21, 1, 29, 9), obj(30, 1, 0.5, 1, 1, 9, 9)}, 1e-4)
}

// With MultiLabel a row yields every class that reaches the threshold, ties in the order of the classes; without,
// the first of the best.
func TestMultiLabel(t *testing.T) {
	for _, h := range heads() {
		if h.p.Family.Final() || h.p.Classes < 3 {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			if h.objectness != nil {
				*h.objectness() = 1
			}
			*h.score(0), *h.score(1), *h.score(2) = 0.5, 0.125, 0.5
			h.p.ScoreThreshold = 0.4
			got, err := h.decode(t)
			if err != nil || len(got) != 2 || got[1].ClassID != 0 {
				t.Fatalf("got %v, %v without MultiLabel, want class 0 alone", got, err)
			}
			box := got[1].Box
			h.p.MultiLabel = true
			check := func(fault error, want ...object) {
				t.Helper()
				got, err := h.decode(t)
				if !errors.Is(err, fault) {
					t.Errorf("error is %v, want %v", err, fault)
				}
				same(t, got, append([]object{h.found}, want...), 2e-3)
			}
			seen := func(class int) object { return object{Detection: Detection{box, 0.5, class}} }
			check(nil, seen(0), seen(2))
			*h.score(2) = nan
			check(ErrNotFinite, seen(0))
			*h.score(2) = -0.5
			check(nil, seen(0))
			if h.objectness != nil { // it counts for each class
				*h.objectness(), *h.score(0), *h.score(2) = 0.5, 0.75, 1
				check(nil, seen(2))
			}
		})
	}
}
