// Package golden checks a detector against pictures of which it is known what a model finds in them. They come with the
// model, in the folder golden beside it, and show a device that the model works there as it did where it was made.
//
// golden/golden.json says what is to be found:
//
//	{"format": 1, "iou": 0.9, "score": 0.05, "pictures": [
//	  {"file": "street.jpg", "detections": [
//	    {"class_id": 0, "score": 0.87, "box": [12.5, 40, 88.1, 210.4]}]}]}
//
// iou is the least overlap with the expected box, score the largest difference from the expected score. file lies in
// the folder golden or below it. box has the corners x1, y1, x2, y2 in pixels of the picture, and detections is all
// that the model finds with the thresholds it is used with, in any order.
//
// Pure Go; imports engine/detect only; values are not changed once Read has returned them, so that functions may be
// called concurrently.
package golden
