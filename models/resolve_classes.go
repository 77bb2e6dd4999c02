package models

import (
	"fmt"
	"slices"
	"strconv"

	"gnomon/engine/detect"
)

// classes settles the number of classes and their labels.
func (r *resolver) classes() error {
	s := r.spec
	n, err := detect.ClassesFromShape(s.Family, r.outs)
	if err != nil {
		return r.unfit(err)
	}
	where := Origin{Where: FromShape, Why: "the output's dimensions"}
	key, labels := "labels", []string(r.m.Labels)
	if r.m.LabelsFile != "" {
		key = "labels_file"
		if labels == nil {
			r.problems.Addf(key, "is read only beside a manifest in a file; write labels instead")
			return nil
		}
	}
	switch {
	case labels != nil:
		r.origin("labels", count(len(labels), "label", "labels"), FromManifest, key)
	case r.md.names != nil:
		labels = r.md.names
		r.origin("labels", count(len(labels), "label", "labels"), FromMetadata, "names")
	default:
		labels = r.familyLabels(n)
	}
	if n == 0 && labels != nil {
		n = len(labels)
		where = Origin{Where: r.spec.Origins["labels"].Where, Why: "the number of labels"}
	}
	if s.Family == detect.RFDETR && len(labels) > 0 && len(labels) == n-1 && !slices.Equal(labels, COCO90()) {
		n = len(labels)
		where.Why = "the output's dimensions less a last column that has no label"
		r.unclear("the model has a column more than labels, and the labels are taken for those of the first columns, as RF-DETR trains them: if its class ids began at 1, write a label for column 0 too")
	}
	switch {
	case labels == nil:
		labels = r.makeUpLabels(n)
	case len(labels) == n:
	case r.m.Labels != nil:
		r.problems.Addf(key, "has %s, but the model has %s; %s", count(len(labels), "label", "labels"), count(n, "class", "classes"), labelsAdvice(labels, n))
		return nil
	default:
		return undecided{fmt.Errorf("the metadata names %s, but the model's output has %d: write labels in the manifest, or family if %s is wrong", count(len(labels), "class", "classes"), n, s.Family)}
	}
	if s.Family == detect.SSD && (slices.Equal(labels, COCO80()) || slices.Equal(labels, COCO91())) {
		r.unclear("models of TensorFlow's zoo number their classes from 1 and by COCO's category ids: if this is one, write labels: %s", LabelsCOCO90)
	}
	s.Labels, s.Classes = labels, n
	if n > 0 {
		r.origin("classes", n, where.Where, where.Why)
	}
	return nil
}

// labelsAdvice is what to do about labels that are too many or too few.
func labelsAdvice(labels []string, classes int) string {
	if classes == cocoCategories+1 && (len(labels) == len(coco80) || slices.Equal(labels, COCO90())) {
		return "its classes are COCO's category ids: write labels: " + LabelsCOCO91
	}
	return "write one label for each class, in the model's order"
}

// familyLabels is the labels that go without saying: the family's only class, or those of the data that the authors'
// models are trained on; nil for none.
func (r *resolver) familyLabels(n int) []string {
	switch {
	case r.spec.Family == detect.YuNet:
		r.origin("labels", "face", FromFamily, "all that the family finds")
		return []string{"face"}
	case r.spec.Family == detect.RFDETR && n == cocoCategories+1:
		r.origin("labels", LabelsCOCO91, FromFamily, "91 columns are COCO's category ids from 0 to 90")
		r.unclear("the classes have no names, and %d columns are taken for COCO's category ids; if the model was trained on something else, write labels", n)
		return COCO91()
	}
	return nil
}

// makeUpLabels names n classes by their numbers.
func (r *resolver) makeUpLabels(n int) []string {
	coco := ""
	switch {
	case r.spec.Family == detect.SSD:
		coco = "; a model of TensorFlow's zoo that was trained on COCO needs labels: " + LabelsCOCO90
	case r.spec.Family == detect.RTDETR:
		coco = "; a model that was trained on COCO needs labels: " + LabelsCOCO80
	case n == len(coco80):
		coco = "; 80 classes may be those of COCO, then write labels: " + LabelsCOCO80
	}
	if n == 0 {
		r.unclear("the classes have no names, and the output does not tell how many there are: write labels%s", coco)
		return nil
	}
	labels := make([]string, n)
	for i := range labels {
		labels[i] = "class " + strconv.Itoa(i)
	}
	r.origin("labels", fmt.Sprintf("%d made up, from %q on", n, labels[0]), FromShape, "the number of classes")
	r.unclear("the classes have no names: write labels%s", coco)
	return labels
}
