package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Result is one detection in COCO's terms.
type Result struct {
	ImageID    int64      `json:"image_id"`
	CategoryID int        `json:"category_id"` // a category's id, not a model's class index: see ClassMap
	BBox       [4]float64 `json:"bbox"`        // x, y, width, height in pixels of the source picture
	Score      float64    `json:"score"`       // confidence in 0..1
}

// check says what is wrong with a result in itself, or nothing.
func (r Result) check() string {
	if !(r.Score >= 0 && r.Score <= 1) { // also NaN
		return "score is " + number(r.Score) + "; it must be within 0..1"
	}
	return checkBox(r.BBox)
}

// Decimals of a written result. COCO's own results come with one or two for boxes and three for scores: a
// hundredth of a pixel is finer than any annotation, and five digits keep the order of nearly all scores.
const (
	boxDecimals   = 2
	scoreDecimals = 5
)

// WriteResults writes results in the COCO result form, one a line, boxes with two decimals and scores with five.
// A result that breaks the form (not finite, a negative size, a score outside 0..1) is an error, found before
// anything is written.
func WriteResults(w io.Writer, results []Result) error {
	for i, r := range results {
		if trouble := r.check(); trouble != "" {
			return fmt.Errorf("write results: results[%d]: %s", i, trouble)
		}
	}
	line := []byte("[")
	for i, r := range results {
		if i > 0 {
			line = append(line, ',')
		}
		line = append(line, "\n{\"image_id\":"...)
		line = strconv.AppendInt(line, r.ImageID, 10)
		line = append(line, ",\"category_id\":"...)
		line = strconv.AppendInt(line, int64(r.CategoryID), 10)
		line = append(line, ",\"bbox\":["...)
		for k, v := range r.BBox {
			if k > 0 {
				line = append(line, ',')
			}
			line = appendRounded(line, v, boxDecimals)
		}
		line = append(line, "],\"score\":"...)
		line = appendRounded(line, r.Score, scoreDecimals)
		line = append(line, '}')
		if err := flush(w, &line, flushBytes); err != nil {
			return err
		}
	}
	line = append(line, "\n]\n"...)
	return flush(w, &line, 1)
}

// flushBytes is how much text gathers before it is written: a result has about 100 bytes, and a system call for
// each of a million would take longer than the formatting.
const flushBytes = 64 << 10

// flush writes pending to w once it holds at least threshold bytes.
func flush(w io.Writer, pending *[]byte, threshold int) error {
	if len(*pending) < threshold {
		return nil
	}
	if _, err := w.Write(*pending); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	*pending = (*pending)[:0]
	return nil
}

// appendRounded prints v with at most the given decimals, without trailing zeros and without a negative zero.
func appendRounded(dst []byte, v float64, decimals int) []byte {
	start := len(dst)
	dst = strconv.AppendFloat(dst, v, 'f', decimals, 64)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	if dst[len(dst)-1] == '.' {
		dst = dst[:len(dst)-1]
	}
	if string(dst[start:]) == "-0" {
		return append(dst[:start], '0')
	}
	return dst
}

// ReadResults reads results in the COCO result form, at most MaxFileBytes of it. Members that box results do not
// have are passed over. The error names the element and its line and column; the caller adds the file's name.
func ReadResults(r io.Reader) ([]Result, error) {
	doc, err := readDocument(r, MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	var results []Result
	dec := json.NewDecoder(doc.reader())
	err = elements(doc, dec, "results", func(e resultJSON, _ int64) error {
		result, err := e.result()
		results = append(results, result)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return results, nil
}

type resultJSON struct {
	ImageID    *int64     `json:"image_id"`
	CategoryID *int       `json:"category_id"`
	BBox       []*float64 `json:"bbox"`
	Score      *float64   `json:"score"`
}

func (e resultJSON) result() (Result, error) {
	switch {
	case e.ImageID == nil:
		return Result{}, missing("image_id", "the id of one of the images")
	case e.CategoryID == nil:
		return Result{}, missing("category_id", "the id of one of the categories")
	case e.BBox == nil:
		return Result{}, missing("bbox", "[x, y, width, height] in pixels")
	case e.Score == nil:
		return Result{}, missing("score", "confidence in 0..1")
	}
	box, err := boxOf(e.BBox)
	if err != nil {
		return Result{}, err
	}
	r := Result{ImageID: *e.ImageID, CategoryID: *e.CategoryID, BBox: box, Score: *e.Score}
	if trouble := r.check(); trouble != "" {
		return Result{}, errors.New(trouble)
	}
	return r, nil
}
