package bench

import (
	"cmp"
	"fmt"
	"slices"
)

// NoObjects stands for an average precision that does not exist because the annotations hold no object to find: of
// that size, or at all. The published evaluation prints the same number.
const NoObjects = -1

// Summary is the average precision (AP) of a set of results, by COCO's definitions. All precisions are in 0..1, or
// NoObjects.
type Summary struct {
	AP   float64 `json:"AP"`   // mean over categories and the IoU thresholds 0.50, 0.55 … 0.95
	AP50 float64 `json:"AP50"` // at IoU 0.50
	AP75 float64 `json:"AP75"` // at IoU 0.75
	APs  float64 `json:"APs"`  // small objects: area up to 32² square pixels
	APm  float64 `json:"APm"`  // medium objects: 32² to 96²
	APl  float64 `json:"APl"`  // large objects: 96² and up

	Images  int `json:"images"`  // pictures in the annotations
	Objects int `json:"objects"` // objects to find; crowd regions are none
	Results int `json:"results"` // detections given, those beyond MaxResultsPerImage included

	// Categories has every category of which there is an object to find, by ascending id.
	Categories []CategoryAP `json:"categories"`
}

// CategoryAP is the average precision of one category.
type CategoryAP struct {
	ID      int     `json:"id"`
	Name    string  `json:"name"`
	Objects int     `json:"objects"` // objects to find
	AP      float64 `json:"AP"`
	AP50    float64 `json:"AP50"`
}

// MaxResultsPerImage is how many detections of one category in one picture count, best first: the published
// protocol's number.
const MaxResultsPerImage = 100

const (
	iouThresholds = 10  // 0.50 to 0.95 by 0.05
	recallPoints  = 101 // 0.00 to 1.00 by 0.01
	at50, at75    = 0, 5
)

// areaRange holds the objects whose area lies between two bounds, both included, in square pixels.
type areaRange struct{ low, high float64 }

func (r areaRange) holds(area float64) bool { return r.low <= area && area <= r.high }

const smallArea, mediumArea = 32 * 32, 96 * 96

// The area ranges by index, as areaRanges lists them.
const (
	areaAll = iota
	areaSmall
	areaMedium
	areaLarge
	areaCount
)

func areaRanges() [areaCount]areaRange {
	return [areaCount]areaRange{
		areaAll:    {0, maxArea},
		areaSmall:  {0, smallArea},
		areaMedium: {smallArea, mediumArea},
		areaLarge:  {mediumArea, maxArea},
	}
}

// thresholds are the IoUs from 0.50 to 0.95, computed the way NumPy's arange(0.5, 0.96, 0.05) does: the step is
// what is left of 0.05 after rounding 0.5+0.05, so from 0.60 on they lie a few units in the last place above the
// decimal. An overlap of exactly 0.6 therefore misses the threshold 0.60; the reference numbers have it so.
func thresholds() [iouThresholds]float64 {
	start, step := 0.5, 0.05 // variables: constants would be computed exactly
	delta := start + step - start
	var t [iouThresholds]float64
	for i := range t {
		t[i] = start + float64(float64(i)*delta)
	}
	return t
}

// Evaluate scores results against annotations by the protocol of the COCO detection challenge (box form, see
// cocodataset.org, "Detection Evaluation"): 10 IoU thresholds, 101 recall points, at most MaxResultsPerImage
// detections of a category in a picture. In a picture the detections of a category, best first, each take the
// object that they overlap most and that is not taken yet. Detections of crowd regions and of objects outside the
// area range count neither for nor against, nor do those that found nothing and whose own area is outside.
//
// Results of equal score are taken in the order given, pictures in the order of a.Images. A result about an image
// or category that the annotations do not hold, a score outside 0..1 or an impossible box is an error, and so are
// annotations that contradict themselves. The arguments are only read. 5000 pictures with 300 detections each take
// a few seconds.
func Evaluate(a *Annotations, r []Result) (Summary, error) {
	all, err := groups(a, r)
	if err != nil {
		return Summary{}, fmt.Errorf("evaluate: %w", err)
	}
	s := Summary{Images: len(a.Images), Results: len(r)}
	var means [areaCount]mean
	var at [iouThresholds]mean // over categories, any size
	for _, g := range all {
		if len(g.objects) == 0 {
			continue
		}
		m := newMatcher(a, r, g)
		for area, within := range areaRanges() {
			m.match(within)
			if m.toFind == 0 {
				continue
			}
			precision := m.averagePrecisions()
			var category mean
			for t, ap := range precision {
				category.add(ap)
				means[area].add(ap)
				if area == areaAll {
					at[t].add(ap)
				}
			}
			if area == areaAll {
				s.Objects += m.toFind
				s.Categories = append(s.Categories, CategoryAP{
					ID: g.category.ID, Name: g.category.Name, Objects: m.toFind, AP: category.value(), AP50: precision[at50],
				})
			}
		}
	}
	s.AP, s.AP50, s.AP75 = means[areaAll].value(), at[at50].value(), at[at75].value()
	s.APs, s.APm, s.APl = means[areaSmall].value(), means[areaMedium].value(), means[areaLarge].value()
	return s, nil
}

// mean is a running mean; NoObjects when nothing was added.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v float64) { m.sum, m.n = m.sum+v, m.n+1 }

func (m *mean) value() float64 {
	if m.n == 0 {
		return NoObjects
	}
	return m.sum / float64(m.n)
}

// averagePrecisions turns the last match into one average precision for each IoU threshold: precision is made to
// fall with recall, by giving each point the best precision at its recall or a higher one, and averaged over the
// recall points; a recall that is never reached has precision 0.
func (m *matcher) averagePrecisions() [iouThresholds]float64 {
	var out [iouThresholds]float64
	for t := range out {
		bit := uint16(1) << t
		// Only a true positive raises recall, and precision only falls between two of them, so the curve is known
		// from its values there.
		curve := m.curve[:0]
		seen := 0
		for _, i := range m.byScore {
			if m.ignored[i]&bit != 0 {
				continue
			}
			seen++
			if m.matched[i]&bit != 0 {
				curve = append(curve, float64(len(curve)+1)/float64(seen))
			}
		}
		m.curve = curve
		for i := len(curve) - 2; i >= 0; i-- {
			curve[i] = max(curve[i], curve[i+1])
		}
		sum, at := 0.0, 0
		for point := range recallPoints {
			recall := float64(point) * 0.01
			for at < len(curve) && float64(at+1)/float64(m.toFind) < recall {
				at++
			}
			if at == len(curve) {
				break
			}
			sum += curve[at]
		}
		out[t] = sum / recallPoints
	}
	return out
}

// sortByScore orders indices of results best first; equal scores keep their order.
func sortByScore(order []int, score []float64) {
	slices.SortStableFunc(order, func(p, q int) int { return cmp.Compare(score[q], score[p]) })
}
