package models

import (
	"fmt"
	"slices"
)

// COCO80 is a copy of the labels of COCO's 80 object classes, in the order in which all families number them from 0
// (COCO's own category ids run from 1 to 90, with gaps). The spelling is that of the families' own label files.
func COCO80() []string { return slices.Clone(coco80[:]) }

// cocoCategories is the largest of COCO's own category ids.
const cocoCategories = 90

// COCO90 is the labels of COCO's category ids 1 to 90, in the order in which TensorFlow's detectors number them. Ten
// ids were never given to a category that has objects: those are called "category 12" and so on, and no sound model
// finds them.
func COCO90() []string {
	gaps := map[int]bool{12: true, 26: true, 29: true, 30: true, 45: true, 66: true, 68: true, 69: true, 71: true, 83: true}
	labels := make([]string, 0, cocoCategories)
	named := coco80[:]
	for id := 1; id <= cocoCategories; id++ {
		if gaps[id] {
			labels = append(labels, unusedCategory(id))
			continue
		}
		labels, named = append(labels, named[0]), named[1:]
	}
	return labels
}

// COCO91 is COCO90 with an unused category 0 in front: an output of 91 columns numbers its columns from there.
func COCO91() []string { return slices.Insert(COCO90(), 0, unusedCategory(0)) }

func unusedCategory(id int) string { return fmt.Sprintf("category %d", id) }

var coco80 = [...]string{
	"person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
	"fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
	"elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
	"skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
	"tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
	"sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
	"potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
	"microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
	"hair drier", "toothbrush",
}
