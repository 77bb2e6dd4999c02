package models

import (
	"fmt"

	"gnomon/engine/detect"
)

// metadata is what the Ultralytics exporters write into a model file, as far as it matters here. Zero values mean
// that the file does not say.
//
// Source of the keys and their meaning: the exporter's own code, where they are filled in before an ONNX file is
// written (names, stride, imgsz, task, batch, end2end, channels, args; YOLOv5 writes names and stride alone).
type metadata struct {
	ultralytics   bool // names together with stride, or the author, says so
	names         []string
	width, height int // imgsz, which is [height, width]
	stride        int
	task          string
	batch         int
	channels      int
	end2end       *bool
	nms           bool // NMS was exported along (args)
	licence       string

	// unread are the keys that could not be made sense of, as sentences.
	unread []string
}

// readMetadata never fails: the keys belong to whoever wrote the file, and an exporter that means something else by
// them must not keep a model from running. What cannot be read is noted.
func readMetadata(raw map[string]string) metadata {
	var md metadata
	_, hasNames := raw["names"]
	_, hasStride := raw["stride"]
	md.ultralytics = raw["author"] == "Ultralytics" || hasNames && hasStride
	md.task = raw["task"]
	md.licence = raw["license"]
	md.read(raw, "names", "a list of names, or a dict from 0 up", func(v any) (ok bool) {
		md.names, ok = namesOf(v)
		return ok
	})
	md.read(raw, "imgsz", "[height, width]", func(v any) bool {
		if side, ok := wholeOf(v, maxSide); ok {
			md.width, md.height = side, side
			return true
		}
		list, _ := v.([]any)
		if len(list) != 2 {
			return false
		}
		h, okH := wholeOf(list[0], maxSide)
		w, okW := wholeOf(list[1], maxSide)
		if okH && okW {
			md.width, md.height = w, h
		}
		return okH && okW
	})
	md.read(raw, "stride", "a whole number", func(v any) (ok bool) {
		md.stride, ok = wholeOf(v, maxSide)
		return ok
	})
	md.read(raw, "batch", "a whole number", func(v any) (ok bool) {
		md.batch, ok = wholeOf(v, 1<<20)
		return ok
	})
	md.read(raw, "channels", "a whole number", func(v any) (ok bool) {
		md.channels, ok = wholeOf(v, 1<<10)
		return ok
	})
	md.read(raw, "end2end", "True or False", func(v any) bool {
		b, ok := v.(bool)
		if ok {
			md.end2end = &b
		}
		return ok
	})
	md.read(raw, "args", "a dict", func(v any) bool {
		args, ok := v.(map[any]any)
		md.nms, _ = args["nms"].(bool)
		return ok
	})
	return md
}

// read parses the value of key, if there is one, and hands it to take; a value that take refuses is noted.
func (md *metadata) read(raw map[string]string, key, form string, take func(any) bool) {
	text, ok := raw[key]
	if !ok {
		return
	}
	v, err := ParseLiteral(text)
	switch {
	case err != nil:
		md.unread = append(md.unread, fmt.Sprintf("the metadata key %s is ignored: %v", key, err))
	case !take(v):
		md.unread = append(md.unread, fmt.Sprintf("the metadata key %s is ignored: it is not %s", key, form))
	}
}

// wholeOf is v as a whole number in 1..limit.
func wholeOf(v any, limit int64) (int, bool) {
	i, ok := v.(int64)
	return int(i), ok && i >= 1 && i <= limit
}

// namesOf is a list of names, or a dict whose keys are 0, 1, 2, … in any order.
func namesOf(v any) ([]string, bool) {
	var values []any
	switch v := v.(type) {
	case []any:
		values = v
	case map[any]any:
		values = make([]any, len(v))
		for i := range values {
			value, ok := v[int64(i)]
			if !ok {
				return nil, false
			}
			values[i] = value
		}
	}
	if len(values) == 0 || len(values) > detect.ClassesLimit {
		return nil, false
	}
	names := make([]string, len(values))
	for i, value := range values {
		name, ok := value.(string)
		if !ok || checkText(name, maxLabel) != nil {
			return nil, false
		}
		names[i] = name
	}
	return names, true
}

// family is what the metadata and the shapes together say, where the shapes alone might not; "" for nothing.
func (md *metadata) family(outs []detect.TensorInfo) (f detect.Family, why string) {
	if !md.ultralytics || len(outs) != 1 || len(outs[0].Shape) != 3 {
		return "", ""
	}
	rows, last, nc := outs[0].Shape[1], outs[0].Shape[2], int64(len(md.names))
	switch {
	case last == 6 && md.nms:
		return detect.EndToEnd, "the metadata says that NMS was exported along"
	case last == 6 && md.end2end != nil && *md.end2end:
		return detect.EndToEnd, "the metadata says end2end: True"
	case nc == 0:
		return "", ""
	case rows == 4+nc && (last > rows || last == -1):
		return detect.YOLOv8, fmt.Sprintf("the metadata names %d classes, and the output has 4 more values a box", nc)
	case last == 5+nc && (rows > last || rows == -1):
		if nc == 1 && !anchorRows(rows) {
			return "", ""
		}
		return detect.YOLOv5, fmt.Sprintf("the metadata is Ultralytics' and names %d classes, and the output has 5 more values a box", nc)
	}
	return "", ""
}

// anchorRows reports whether an output has as many rows as YOLOv5 gives: three anchors for each cell of strides 8, 16
// and 32, whose cells come in 16 + 4 + 1, or of strides 8 to 64 in 64 + 16 + 4 + 1. With one class its rows have 6
// values, as those of an end-to-end head have, and this is what tells the two apart.
func anchorRows(rows int64) bool {
	return rows > 0 && (rows%(3*21) == 0 || rows%(3*85) == 0)
}

// check refuses models that the metadata says are no detectors, or do not take colour pictures.
func (md *metadata) check() error {
	if md.ultralytics && md.task != "" && md.task != "detect" {
		return fmt.Errorf("the model's metadata says that its task is %q, and gnomon runs detectors: export one whose task is detect", md.task)
	}
	if md.channels != 0 && md.channels != 3 {
		return fmt.Errorf("the model's metadata says that it takes pictures of %s, and gnomon feeds 3: export it for colour pictures", count(md.channels, "channel", "channels"))
	}
	return nil
}
