package detect

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// separate is n objects that do not overlap, each seen by a few columns that do.
func separate(n, columns int) []object {
	var out []object
	row := 0
	for i := range n {
		x, y := float32(i%25)*25, float32(i/25)*25
		for k := range 4 {
			score := 0.9 - float32(i)/1000 - float32(k)/20
			out = append(out, obj(row*columns/(4*n), i%80, score, x+float32(k)/4, y, x+20, y+20))
			row++
		}
	}
	return out
}

func plantSeparate(n int) Tensor {
	return plantYOLOv8(8400, 80, false, separate(n, 8400)...)
}

// TestNoAllocations: what a camera's steady state stands on.
func TestNoAllocations(t *testing.T) {
	crowded := head{name: "yolov8 crowded", p: params(YOLOv8, 80, 640, 640), tensors: []Tensor{plantSeparate(300)}}
	multi := crowded
	multi.p.MultiLabel = true
	for _, h := range append(heads(), crowded, multi) {
		h.p.MaxDetections = 300
		h.p.ScoreThreshold = 0.001
		d := mustDecoder(t, h.p, infos(h.tensors...))
		dst := make([]Detection, 0, 300)
		var found int
		allocs := testing.AllocsPerRun(20, func() {
			got, err := d.Decode(h.tensors, dst[:0])
			if err != nil {
				t.Fatal(err)
			}
			found = len(got)
		})
		if allocs != 0 || found == 0 {
			t.Errorf("%s: %v allocations a run, %d detections", h.name, allocs, found)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	bench := func(name string, p Params, want int, tensors ...Tensor) {
		b.Run(name, func(b *testing.B) {
			p.MaxDetections = 300
			d := mustDecoder(b, p, infos(tensors...))
			dst := make([]Detection, 0, 300)
			b.ReportAllocs()
			for b.Loop() {
				got, err := d.Decode(tensors, dst[:0])
				if err != nil || len(got) != want {
					b.Fatalf("%d detections, want %d; %v", len(got), want, err)
				}
			}
		})
	}
	for _, n := range []int{10, 300} {
		bench(fmt.Sprintf("yolov8/%d", n), params(YOLOv8, 80, 640, 640), n, plantSeparate(n))
		objects := separate(n, 8400)
		bench(fmt.Sprintf("yolov8-transposed/%d", n), params(YOLOv8, 80, 640, 640), n, plantYOLOv8(8400, 80, true, objects...))
		bench(fmt.Sprintf("yolox/%d", n), params(YOLOX, 80, 640, 640), n, gridded(n))
	}
	low := params(YOLOv8, 80, 640, 640)
	low.ScoreThreshold = 0.001 // as eval runs: every column is a candidate
	bench("yolov8/floor", low, 300, plantSeparate(10))
	low.MultiLabel = true // and every class, far more than a real model has above the floor
	bench("yolov8/floor-multi-label", low, 300, plantSeparate(10))

	few := separate(10, 300)
	bench("rtdetr/10", params(RTDETR, 80, 640, 640), 40, plantTables(RTDETR, 300, 640, 640, few...)...)
	bench("rfdetr/10", params(RFDETR, 91, 640, 640), 40, plantRFDETR(300, 91, 640, 640, few...)...)
	low = params(RFDETR, 91, 640, 640)
	low.ScoreThreshold = 0.001
	bench("rfdetr/floor", low, 300, plantRFDETR(300, 91, 640, 640, few...)...)
	bench("yunet/1", params(YuNet, 1, 640, 640), 1, plantYuNet(640, 640, cellObj(1, 3, 20, 0, 0.5, 40, 300, 70, 350))...)

	scores, boxes := plantNanoDet(416, 416, 80, 11, []int{8, 16, 32}, 0.5,
		cellObj(1, 10, 4, 0, 0.8, 100.5, 20, 240, 130.75), cellObj(2, 6, 7, 41, 0.6, 50, 100, 380, 400))
	p := params(NanoDet, 80, 416, 416)
	bench("nanodet/2", p, 2, append(scores, boxes...)...)
	p.ScoreThreshold = 0.001
	bench("nanodet/floor", p, 300, append(scores, boxes...)...)
}

// gridded is a raw yolox head that sees n objects, each by its own cell.
func gridded(n int) Tensor {
	var objects []object
	for i := range n {
		x, y := (i%25)*3, (i/25)*3
		objects = append(objects, cellObj(0, x, y, i%80, 0.9, float32(x*8), float32(y*8), float32(x*8+20), float32(y*8+20)))
	}
	return plantYOLOX(640, 640, 80, objects...)
}

// BenchmarkSuppress is NMS alone, on as many candidates as it ever looks at.
func BenchmarkSuppress(b *testing.B) {
	for _, c := range []struct{ n, classes int }{{8400, 80}, {maxCandidates, 80}, {maxCandidates, 1}} {
		b.Run(fmt.Sprintf("%d/%d", c.n, c.classes), func(b *testing.B) {
			in := crowd(rand.New(rand.NewPCG(9, 9)), c.n, c.classes, 0)
			cands := newCandidates(c.n, c.classes, 300)
			dst := make([]Detection, 0, 300)
			b.ReportAllocs()
			for b.Loop() {
				cands.reset()
				for _, d := range in {
					cands.add(d.Box, d.Score, d.ClassID)
				}
				cands.suppress(dst[:0], 0.65, 300)
			}
		})
	}
}
