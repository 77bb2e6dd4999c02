package detect

import "fmt"

// tables reads the heads that give final boxes in three outputs: a class, a box and a score for each row.
type tables struct {
	base
	classes, boxes, scores pin
	count                  pin  // how many rows count; without a name where the model has none
	ssd                    bool // boxes are y1 x1 y2 x2 as parts of the input's sides, not x1 y1 x2 y2 in its pixels
}

// tableNames are the names of the outputs of a family: classes, boxes, scores. Two of the three have one shape, so
// the names alone tell them apart.
func tableNames(f Family) [3]string {
	if f == SSD {
		return [3]string{"detection_classes", "detection_boxes", "detection_scores"}
	}
	return [3]string{"labels", "boxes", "scores"}
}

// ssdCount is the output with the number of rows that count, behind which some exporters leave rows of low scores.
const ssdCount = "num_detections"

// ssdFirst is the number of the first class in TensorFlow's label maps; 0 is the background.
const ssdFirst = 1

func newTables(p Params, outputs []TensorInfo) (Decoder, error) {
	d := &tables{ssd: p.Family == SSD}
	rows, err := d.bind(p.Family, outputs)
	if err != nil {
		return nil, err
	}
	d.base = newBase(p, p.Classes, rows)
	if d.ssd {
		d.first = ssdFirst
		d.unit = [2]float32{float32(p.InputWidth), float32(p.InputHeight)}
	}
	return d, nil
}

// bind finds the outputs and their number of rows, anyDim when only the run tells.
func (d *tables) bind(f Family, outputs []TensorInfo) (rows int64, err error) {
	names := tableNames(f)
	if !allNamed(outputs, names[:]...) {
		return 0, fmt.Errorf("%s head has the outputs %s, %s and %s, this model has %s; export it with these names, "+
			"or check the manifest's `family`", withArticle(f), names[0], names[1], names[2], describeAll(outputs))
	}
	var at [3]int
	for i, name := range names {
		at[i], _ = byName(outputs, name)
	}
	if d.classes, err = bindFlat(f, outputs, at[0]); err != nil {
		return 0, err
	}
	if d.boxes, err = bindPin(f, outputs, at[1]); err != nil {
		return 0, err
	}
	if d.scores, err = bindFlat(f, outputs, at[2]); err != nil {
		return 0, err
	}
	if d.boxes.dims[1] != 4 && d.boxes.dims[1] != anyDim {
		return 0, fmt.Errorf("output %s of %s head has rows of %d, 4 are expected; check the manifest's `family`",
			describe(outputs[at[1]]), withArticle(f), d.boxes.dims[1])
	}
	d.boxes.dims[1] = 4
	rows = anyDim
	for _, p := range []*pin{&d.classes, &d.boxes, &d.scores} {
		if p.dims[0] == anyDim {
			continue
		}
		if rows != anyDim && rows != p.dims[0] {
			return 0, fmt.Errorf("outputs %s of %s head have different numbers of rows; check the manifest's `family`", describeAll(outputs), withArticle(f))
		}
		rows = p.dims[0]
	}
	if i, ok := byName(outputs, ssdCount); ok && f == SSD {
		d.count, err = bindCount(f, outputs, i)
	}
	return rows, err
}

// bindCount checks that output i is one number.
func bindCount(f Family, outputs []TensorInfo, i int) (pin, error) {
	o := outputs[i]
	for _, d := range o.Shape {
		if d != 1 && d != anyDim {
			return pin{}, fmt.Errorf("output %s of %s head is expected to be one number; export the model with a batch of 1 or a dynamic one",
				describe(o), withArticle(f))
		}
	}
	return pin{index: i, name: o.Name}, nil
}

// Decode implements Decoder.
func (d *tables) Decode(outputs []Tensor, dst []Detection) ([]Detection, error) {
	classes, rows, _, err := d.classes.values(outputs)
	if err != nil {
		return dst, err
	}
	boxes, boxRows, _, err := d.boxes.values(outputs)
	if err != nil {
		return dst, err
	}
	scores, scoreRows, _, err := d.scores.values(outputs)
	if err != nil {
		return dst, err
	}
	if boxRows != rows || scoreRows != rows {
		return dst, fmt.Errorf("outputs %q, %q and %q came with %d, %d and %d rows; the model does not keep its rows together, export it again",
			d.classes.name, d.boxes.name, d.scores.name, rows, boxRows, scoreRows)
	}
	d.begin()
	if rows, err = d.counted(outputs, rows); err != nil {
		return dst, err
	}
	for i := range rows {
		b := boxes[4*i:][:4]
		if d.ssd {
			d.final(scores[i], classes[i], b[1], b[0], b[3], b[2])
		} else {
			d.final(scores[i], classes[i], b[0], b[1], b[2], b[3])
		}
	}
	return d.finishFinal(dst)
}

// counted is how many of the rows count. A count that is no number says nothing: then the scores alone decide.
func (d *tables) counted(outputs []Tensor, rows int) (int, error) {
	if d.count.name == "" {
		return rows, nil
	}
	t, err := d.count.tensor(outputs)
	if err != nil {
		return 0, err
	}
	if len(t.Data) < 1 {
		return 0, fmt.Errorf("output %q came as %s without a value", t.Name, shapeText(t.Shape))
	}
	n := t.Data[0]
	if !finite(n) {
		d.faults.notFinite++
		return rows, nil
	}
	return int(min(max(n, 0), float32(rows))), nil
}
