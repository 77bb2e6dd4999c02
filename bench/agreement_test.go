package bench

import (
	"math"
	"testing"
)

func TestAgreement(t *testing.T) {
	t.Parallel()
	const minScore, minIoU, scoreTol = 0.25, 0.95, 0.02
	box := found(0.62919, 0, 0, 100, 100)
	tests := []struct {
		name             string
		ref, ours        []Result
		reference, found int
		misses           []string
	}{
		{"nothing to look for", []Result{found(0.24, 0, 0, 9, 9)}, []Result{box}, 0, 0, nil},
		{"the same", []Result{box, in(5, box)}, []Result{in(5, box), box}, 2, 2, nil},
		{"a score of just minScore counts", []Result{found(0.25, 0, 0, 9, 9)}, nil, 1, 0, []string{
			"image 10, category 3, score 0.25000 at [0.00 0.00 9.00 9.00]: nothing of that category there",
		}},
		// 0.62919-0.60919 is 0.020000000000000018.
		{"a score just within tolerance", []Result{box}, []Result{found(0.60919, 0, 0, 100, 100)}, 1, 1, nil},
		{"a score just outside", []Result{box}, []Result{found(0.60918, 0, 0, 100, 100)}, 1, 0, []string{
			"image 10, category 3, score 0.62919 at [0.00 0.00 100.00 100.00]: nearest has IoU 1.0000 and score -0.02001",
		}},
		{"IoU just enough", []Result{box}, []Result{found(0.64, 0, 0, 100, 95)}, 1, 1, nil},
		{"IoU too small", []Result{box}, []Result{found(0.64, 0, 0, 100, 94)}, 1, 0, []string{
			"image 10, category 3, score 0.62919 at [0.00 0.00 100.00 100.00]: nearest has IoU 0.9400 and score +0.01081",
		}},
		{"another picture", []Result{box}, []Result{in(5, box)}, 1, 0, []string{
			"image 10, category 3, score 0.62919 at [0.00 0.00 100.00 100.00]: nothing of that category there",
		}},
		{"another category", []Result{box}, []Result{{ImageID: 10, CategoryID: 7, BBox: box.BBox, Score: box.Score}}, 1, 0, []string{
			"image 10, category 3, score 0.62919 at [0.00 0.00 100.00 100.00]: nothing of that category there",
		}},
		{
			"of several that overlap enough the closest score decides",
			[]Result{box},
			[]Result{found(0.3, 0, 0, 100, 100), found(0.64, 0, 0, 100, 96), found(0.5, 0, 0, 100, 99), found(0.62919, 0, 0, 10, 10)},
			1, 1, nil,
		},
		{
			"the worst first",
			[]Result{found(0.5, 0, 0, 50, 50), found(0.6, 200, 0, 50, 50), found(0.9, 400, 0, 50, 50)},
			[]Result{found(0.5, 0, 0, 50, 25), found(0.9, 0, 300, 7, 7)},
			3, 0,
			[]string{
				"image 10, category 3, score 0.90000 at [400.00 0.00 50.00 50.00]: nearest has IoU 0.0000 and score -0.40000",
				"image 10, category 3, score 0.60000 at [200.00 0.00 50.00 50.00]: nearest has IoU 0.0000 and score -0.10000",
				"image 10, category 3, score 0.50000 at [0.00 0.00 50.00 50.00]: nearest has IoU 0.5000 and score +0.00000",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := Agreement(tt.ref, tt.ours, minScore, minIoU, scoreTol)
			if got.Reference != tt.reference || got.Found != tt.found {
				t.Errorf("found %d of %d, want %d of %d", got.Found, got.Reference, tt.found, tt.reference)
			}
			share := 0.0
			if tt.reference > 0 {
				share = float64(tt.found) / float64(tt.reference)
			}
			if math.Abs(got.Share-share) > 1e-12 {
				t.Errorf("share = %v, want %v", got.Share, share)
			}
			if len(got.Misses) != len(tt.misses) {
				t.Fatalf("misses = %v, want %q", got.Misses, tt.misses)
			}
			for i, want := range tt.misses {
				if line := got.Misses[i].String(); line != want {
					t.Errorf("miss %d is %s\nwant      %s", i, line, want)
				}
			}
		})
	}
}

func TestAgreementBoundsItsMisses(t *testing.T) {
	t.Parallel()
	ref := falseAlarms(MaxMisses+30, 0.9)
	got := Agreement(ref, nil, 0.25, 0.95, 0.02)
	if got.Reference != len(ref) || got.Found != 0 || got.Share != 0 || len(got.Misses) != MaxMisses {
		t.Errorf("report = %+v", got)
	}
}
