package main

import (
	"encoding/json"
	"fmt"

	"gnomon/engine/letterbox"
)

// document is expect.json.
type document struct {
	Labels         []string   `json:"labels"`
	ScoreTolerance float64    `json:"score_tolerance"` // a score may differ by so much
	BoxTolerance   float64    `json:"box_tolerance"`   // an edge may differ by so many pixels of the model's input
	Pictures       []expected `json:"pictures"`
}

// expected is what is to be found in a picture: these objects by each of these models, and nothing else.
type expected struct {
	File      string   `json:"file"`
	Width     int      `json:"width"`
	Height    int      `json:"height"`
	Objects   []found  `json:"objects"`
	Models    []string `json:"models"`
	NotFinite []string `json:"not_finite,omitempty"` // models that give NaN besides
}

type found struct {
	ClassID int     `json:"class_id"`
	Label   string  `json:"label"`
	Score   float64 `json:"score"`
	Box     [4]int  `json:"box"`
}

// expectations writes expect.json.
func expectations(models []model, pictures []picture) ([]byte, error) {
	doc := document{Labels: classes(), ScoreTolerance: 0.002, BoxTolerance: 0.05}
	for _, p := range pictures {
		e := expected{File: p.name, Width: p.width, Height: p.height, Objects: []found{}, Models: []string{}}
		for _, o := range p.objects {
			e.Objects = append(e.Objects, found{o.class, classes()[o.class], o.score(), o.box})
		}
		for _, m := range models {
			meets, err := meets(m, p)
			if err != nil {
				return nil, fmt.Errorf("picture %s with model %s: %w", p.name, m.name, err)
			}
			if !meets {
				continue
			}
			e.Models = append(e.Models, m.name)
			if m.dazzling && !p.glare.Empty() {
				e.NotFinite = append(e.NotFinite, m.name)
			}
		}
		doc.Pictures = append(doc.Pictures, e)
	}
	data, err := json.MarshalIndent(doc, "", " ")
	return append(data, '\n'), err
}

// meets reports whether a model sees every object of a picture whole and unblurred: its sides shrink by whole
// factors, so that no pixel of the input mixes two colours, and the objects lie on the model's grid.
func meets(m model, p picture) (bool, error) {
	if !m.sees {
		return false, nil
	}
	t, err := letterbox.New(m.resize, p.width, p.height, m.grid.width, m.grid.height)
	if err != nil {
		return false, err
	}
	whole := func(v float64) bool { return v == float64(int(v)) }
	if !whole(1/t.ScaleX) || !whole(1/t.ScaleY) || !whole(float64(p.width)*t.ScaleX) || !whole(float64(p.height)*t.ScaleY) {
		return false, nil
	}
	for _, o := range p.objects {
		if m.redsOnly && o.class != red {
			return false, nil
		}
		x1, y1 := t.Forward(float32(o.box[0]), float32(o.box[1]))
		x2, y2 := t.Forward(float32(o.box[2]), float32(o.box[3]))
		if !m.grid.has(x1, y1, x2, y2) {
			return false, nil
		}
	}
	return true, nil
}

// has reports whether a rectangle is one of those that a model can report.
func (d grid) has(x1, y1, x2, y2 float32) bool {
	for size := range sizes {
		columns, rows := d.cells(size)
		w, h := float32(d.width)/float32(columns), float32(d.height)/float32(rows)
		column, row := x1/w, y1/h
		if x2-x1 == w && y2-y1 == h && column == float32(int(column)) && row == float32(int(row)) {
			return true
		}
	}
	return false
}
