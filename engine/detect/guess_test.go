package detect

import (
	"slices"
	"strings"
	"testing"
)

func TestGuessFamily(t *testing.T) {
	maps := []TensorInfo{info("p3", 1, 3, 80, 80, 85), info("output", 1, 25200, 85), info("p4", 1, 3, 40, 40, 85), info("p5", 1, 3, 20, 20, 85)}
	strided := []TensorInfo{
		info("a", 1, 2704, 80), info("b", 1, 676, 80), info("c", 1, 169, 80),
		info("d", 1, 2704, 44), info("e", 1, 676, 44), info("f", 1, 169, 44),
	}
	for _, c := range []struct {
		name    string
		outputs []TensorInfo
		want    Family // "": an error that holds why
		why     string
		classes int
	}{
		{"yolov8", []TensorInfo{info("o", 1, 84, 8400)}, YOLOv8, "4 rows of boxes and 80 of class scores", 80},
		{"yolov8 of two classes is not end-to-end", []TensorInfo{info("o", 1, 6, 8400)}, YOLOv8, "2 of class scores", 2},
		{"yolov8 of one class", []TensorInfo{info("o", 1, 5, 2100)}, YOLOv8, "1 of class scores", 1},
		{"yolov8 symbolic", []TensorInfo{info("o", -1, 84, -1)}, YOLOv8, "[?,84,?] is 4 rows of boxes and 80", 80},
		{"yolov8 transposed of one class", []TensorInfo{info("o", 1, 8400, 5)}, YOLOv8, "rows of a box and 1 class score", 1},
		{"end-to-end", []TensorInfo{info("o", 1, 300, 6)}, EndToEnd, "at most 1000 rows", 0},
		{"end-to-end of one row", []TensorInfo{info("o", 1, 1, 6)}, EndToEnd, "at most 1000 rows", 0},
		{"end-to-end of 1000 rows", []TensorInfo{info("o", 1, 1000, 6)}, EndToEnd, "at most 1000 rows", 0},
		{"yolov5 with feature maps", maps, YOLOv5, `"output" [1,25200,85] beside its raw feature maps`, 80},
		{"nanodet per stride", strided, NanoDet, "pair up", 80},
		{"nanodet joined", []TensorInfo{info("s", 1, 3549, 80), info("d", 1, 3549, 44)}, NanoDet, "pair up", 80},
		{"nanodet joined symbolic", []TensorInfo{info("s", 1, -1, 80), info("d", 1, -1, 32)}, NanoDet, "pair up", 80},
		{"nanodet of 32 classes", []TensorInfo{info("s", 1, 3549, 32), info("d", 1, 3549, 44)}, NanoDet, "pair up", 0},
		{"nanodet of 44 classes", []TensorInfo{info("s", 1, 3549, 44), info("d", 1, 3549, 44)}, NanoDet, "pair up", 44},

		{"rtdetr", infos(plantTables(RTDETR, 300, 640, 640)...), RTDETR, "D-FINE call their outputs labels, boxes and scores", 0},
		{"rtdetr symbolic", []TensorInfo{info("scores", -1, -1), info("Labels", -1, 300), info("boxes", -1, -1, -1)}, RTDETR, "RT-DETR", 0},
		{"rfdetr", infos(plantRFDETR(300, 91, 560, 560)...), RFDETR, "calls its outputs dets and labels", 91},
		{"rfdetr symbolic", []TensorInfo{info("labels", -1, -1, -1), info("dets", -1, 300, 4)}, RFDETR, "calls its outputs dets and labels", 0},
		{"rfdetr with as many columns as nanodet has bins", infos(plantRFDETR(300, 32, 560, 560)...), RFDETR, "calls its outputs dets and labels", 32},
		{"yunet", infos(plantYuNet(640, 640)...), YuNet, "cls, obj and bbox", 1},
		{"ssd", infos(plantTables(SSD, 100, 300, 300)...), SSD, "detection_boxes", 0},
		{
			"ssd with more", []TensorInfo{
				info("detection_scores:0", -1, -1), info("raw_detection_boxes:0", -1, -1, 4), info("detection_classes:0", -1, -1), info("detection_boxes:0", -1, -1, -1),
			}, SSD, "detection_boxes", 0,
		},

		{"yolov5 or yolox", []TensorInfo{info("o", 1, 25200, 85)}, "", "write `family: yolov5` or `family: yolox` in the manifest", 0},
		{"yolox or yolov5", []TensorInfo{info("o", 1, 3549, 85)}, "", `output "o" [1,3549,85] fits yolov5 and yolox alike`, 0},
		{"one class, before NMS", []TensorInfo{info("o", 1, 1001, 6)}, "", "write `family: yolov5` or `family: yolox`", 0},
		{"symbolic rows", []TensorInfo{info("o", 1, -1, 85)}, "", "write `family: yolov5` or `family: yolox`", 0},
		{"symbolic rows of 6", []TensorInfo{info("o", -1, -1, 6)}, "", "write `family: end-to-end`, `family: yolov5` or `family: yolox`", 0},
		{"all symbolic", []TensorInfo{info("o", -1, -1, -1)}, "", `"o" [?,?,?] are those of no known family; known families: yolov8, yolov5, end-to-end, yolox, nanodet, rtdetr, rfdetr, yunet, ssd`, 0},
		{"square", []TensorInfo{info("o", 1, 84, 84)}, "", "no known family", 0},
		{"long and symbolic", []TensorInfo{info("o", 1, 8400, -1)}, "", "no known family", 0},
		{"a classifier", []TensorInfo{info("logits", 1, 1000)}, "", `"logits" [1,1000] are those of no known family`, 0},
		{"none", nil, "", "the model has no outputs", 0},
		{"masks", []TensorInfo{info("o", 1, 116, 8400), info("p", 1, 32, 160, 160)}, "", `"p" [1,32,160,160] are those of no known family (this looks like a segmentation`, 0},
		{"logits and boxes", []TensorInfo{info("logits", 1, 300, 80), info("pred_boxes", 1, 300, 4)}, "", "can be read with `family: rfdetr`, `mean: 0` and `std: 1`)", 0},
		{"labels without a batch", []TensorInfo{info("boxes", -1, 4), info("labels", -1), info("scores", -1)}, "", "but with a batch in front", 0},
		{"dets with scores", []TensorInfo{info("dets", 1, 100, 5), info("labels", 1, 100)}, "", "RF-DETR has these names, but as [1,n,4] and [1,n,classes]", 0},
		{"yunet of 2022", []TensorInfo{info("loc", 4385, 14), info("conf", 4385, 2), info("iou", 4385, 1)}, "", "(this looks like YuNet of 2022; use that of 2023 or later)", 0},
		{"ssd without names", []TensorInfo{info("Identity_1:0", 1, 100, 4), info("Identity_2:0", 1, 100), info("Identity_4:0", 1, 100)}, "", "no known family", 0},
		{"two strides", strided[1:3], "", "no known family", 0},
		{"a stride without bins", strided[:5], "", "no known family", 0},
		{"a stride with symbolic rows", append(strided[1:3:3], strided[4], strided[5], info("a", 1, -1, 80), info("d", 1, -1, 44)), "", "no known family", 0},
		{"three of a stride", append(strided[:1:1], strided[0], strided[0], strided[1]), "", "no known family", 0},
		{"strides of other widths", append(strided[:5:5], info("f", 1, 169, 32)), "", "no known family", 0},
		{"pairs with unusual bins", []TensorInfo{info("s", 1, 3549, 80), info("d", 1, 3549, 36)}, "", "no known family", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, why, err := GuessFamily(c.outputs)
			if c.want == "" {
				if err == nil || got != "" || why != "" || !strings.Contains(err.Error(), c.why) {
					t.Fatalf("got %q, %q, error %v; want an error with %q", got, why, err, c.why)
				}
				return
			}
			if err != nil || got != c.want || !strings.Contains(why, c.why) {
				t.Fatalf("got %q, %q, %v; want %q, with %q", got, why, err, c.want, c.why)
			}
			classes, err := ClassesFromShape(got, c.outputs)
			if err != nil || classes != c.classes {
				t.Errorf("ClassesFromShape gives %d, %v; want %d", classes, err, c.classes)
			}
		})
	}
}

func TestClassesFromShape(t *testing.T) {
	for _, c := range []struct {
		name    string
		f       Family
		outputs []TensorInfo
		want    int
		err     string
	}{
		{"yolov5", YOLOv5, []TensorInfo{info("o", 1, 25200, 85)}, 80, ""},
		{"yolox", YOLOX, []TensorInfo{info("o", 1, -1, 6)}, 1, ""},
		{"yolox symbolic", YOLOX, []TensorInfo{info("o", 1, 3549, -1)}, 0, ""},
		{"yolox narrow", YOLOX, []TensorInfo{info("o", 1, 3549, 5)}, 0, "has rows of 5, a yolox head has rows of 5+classes"},
		{"yolov8 transposed", YOLOv8, []TensorInfo{info("o", 1, 8400, 84)}, 80, ""},
		{"yolov8 transposed or end-to-end", YOLOv8, []TensorInfo{info("o", 1, 300, 6)}, 0, ""},
		{"yolov8 symbolic", YOLOv8, []TensorInfo{info("o", 1, -1, -1)}, 0, ""},
		{"yolov8 long", YOLOv8, []TensorInfo{info("o", 1, 8400, -1)}, 0, ""},
		{"yolov8 small", YOLOv8, []TensorInfo{info("o", 1, 4, 4)}, 0, "does not fit a yolov8 head"},
		{"yolov8 rank", YOLOv8, []TensorInfo{info("o", 1, 84, 80, 80)}, 0, "has 4 dimensions"},
		{"nanodet in one", NanoDet, []TensorInfo{info("o", 1, 3598, 112)}, 0, ""},
		{"nanodet rank", NanoDet, []TensorInfo{info("o", 3598, 112)}, 0, "has 2 dimensions"},
		{"end-to-end", EndToEnd, []TensorInfo{info("o", 1, 300, 6)}, 0, ""},
		{"end-to-end wide", EndToEnd, []TensorInfo{info("o", 1, 300, 7)}, 0, "does not fit an end-to-end head"},
		{"rfdetr of few and many", RFDETR, []TensorInfo{info("a", 1, 300, 4), info("b", 1, 299, 80)}, 0, "do not fit an rfdetr head"},
		{"rtdetr rank", RTDETR, []TensorInfo{info("labels", 1, 300, 1), info("boxes", 1, 300, 4), info("scores", 1, 300)}, 0, "has 3 dimensions, an rtdetr head has 2 there"},
		{"yunet without boxes", YuNet, infos(plantYuNet(64, 32)[:6]...), 0, "and bbox_8 is not among this model's"},
		{"unknown", "yolo", []TensorInfo{info("o", 1, 300, 7)}, 0, `family "yolo" is unknown; use one of: yolov8,`},
		{"no outputs", YOLOv5, nil, 0, "this model has none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ClassesFromShape(c.f, c.outputs)
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error is %v, want one with %q", err, c.err)
			}
		})
	}
}

// Where the two tensors of a pair have one shape, their names tell which is which.
func TestNanoDetNames(t *testing.T) {
	cell := cellObj(0, 2, 0, 1, 0.9, 10, 2, 50, 30)
	scores, boxes := plantNanoDet(64, 32, 32, 8, []int{8, 16, 32}, 0.5, cell)
	for i := range 3 {
		scores[i].Name, boxes[i].Name = "cls_"+scores[i].Name, "Reg_"+boxes[i].Name
	}
	out := slices.Concat(boxes, scores)
	got, err := mustDecoder(t, params(NanoDet, 32, 64, 32), infos(out...)).Decode(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, []object{cell}, 1e-3)
}
