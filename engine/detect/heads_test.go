package detect

import "fmt"

// good is what the small heads see.
var good = obj(2, 1, 0.9, 10, 20, 50, 60)

// head is one family's smallest complete model, for tests that every family has to pass.
type head struct {
	name    string
	p       Params
	tensors []Tensor
	found   object
	// Where row 5, in which nothing was planted, keeps number i of its box, the score of a class, and its
	// objectness, nil in families without.
	box, score func(int) *float32
	objectness func() *float32
	class      func() *float32 // where a row says its class in a number of its own
	logits     bool            // scores are through no sigmoid yet
}

// heads gives fresh tensors at each call. All see good in row 2 or its cell and nothing else.
func heads() []head {
	const w, h, nc = 64, 32, 3
	n := cells(w, h, 8, 16, 32)
	var out []head
	for _, transposed := range []bool{false, true} {
		v8 := plantYOLOv8(n, nc, transposed, good)
		at := func(c int) *float32 {
			if transposed {
				return &v8.Data[5*(4+nc)+c]
			}
			return &v8.Data[c*n+5]
		}
		out = append(out, head{
			name: fmt.Sprintf("yolov8 transposed %v", transposed), p: params(YOLOv8, nc, w, h), tensors: []Tensor{v8}, found: good,
			box: at, score: func(c int) *float32 { return at(4 + c) },
		})
	}
	cell := cellObj(0, 2, 0, 1, 0.9, 10, 2, 50, 30)
	rows := func(name string, p Params, t Tensor, found object) {
		width := 5 + nc
		at := func(c int) *float32 { return &t.Data[5*width+c] }
		out = append(out, head{
			name: name, p: p, tensors: []Tensor{t}, found: found,
			box: at, score: func(c int) *float32 { return at(5 + c) }, objectness: func() *float32 { return at(4) },
		})
	}
	rows("yolov5", params(YOLOv5, nc, w, h), plantRows(3*n, nc, good), good)
	rows("yolox", params(YOLOX, nc, w, h), plantYOLOX(w, h, nc, cell), cell)
	decoded := params(YOLOX, nc, w, h)
	decoded.Decoded = true
	rows("yolox decoded", decoded, plantRows(n, nc, good), good)

	cell = cellObj(0, 2, 0, 1, 0.9, 10, 2, 50, 30)
	scores, boxes := plantNanoDet(w, h, nc, 8, []int{8, 16, 32}, 0.5, cell)
	out = append(out, head{
		name: "nanodet", p: params(NanoDet, nc, w, h), tensors: append(scores, boxes...), found: cell,
		box:   func(i int) *float32 { return &boxes[0].Data[5*32+i*8] },
		score: func(c int) *float32 { return &scores[0].Data[5*nc+c] },
	})
	final := plantEndToEnd(20, good)
	copy(final.Data[5*6:], []float32{1, 2, 30, 20, 0, 1})
	out = append(out, head{
		name: "end-to-end", p: params(EndToEnd, nc, w, h), tensors: []Tensor{final}, found: good,
		box:   func(i int) *float32 { return &final.Data[5*6+i] },
		score: func(int) *float32 { return &final.Data[5*6+4] }, // its class is 1
		class: func() *float32 { return &final.Data[5*6+5] },
	})
	for _, f := range []Family{RTDETR, SSD} {
		tensors := plantTables(f, 20, w, h, good, obj(5, 1, 0, 1, 2, 30, 20))
		classes, boxes := 0, 1
		if f == SSD {
			classes, boxes = 1, 0
		}
		out = append(out, head{
			name: string(f), p: params(f, nc, w, h), tensors: tensors, found: good,
			box:   func(i int) *float32 { return &tensors[boxes].Data[5*4+i] },
			score: func(int) *float32 { return &tensors[2].Data[5] },
			class: func() *float32 { return &tensors[classes].Data[5] },
		})
	}
	for _, spare := range []int{0, 1} {
		detr := plantRFDETR(20, nc+spare, w, h, good)
		out = append(out, head{
			name: fmt.Sprintf("rfdetr with %d columns more", spare), p: params(RFDETR, nc, w, h), tensors: detr, found: good, logits: true,
			box:   func(i int) *float32 { return &detr[0].Data[5*4+i] },
			score: func(c int) *float32 { return &detr[1].Data[5*(nc+spare)+c] },
		})
	}
	face := cellObj(1, 2, 1, 0, 0.9, 10, 2, 50, 30)
	yunet := plantYuNet(w, h, face)
	return append(out, head{
		name: "yunet", p: params(YuNet, 1, w, h), tensors: yunet, found: face,
		box:        func(i int) *float32 { return &yunet[6].Data[5*4+i] },
		score:      func(int) *float32 { return &yunet[0].Data[5] },
		objectness: func() *float32 { return &yunet[3].Data[5] },
	})
}
