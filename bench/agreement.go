package bench

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// AgreementReport says how well one set of results reproduces another.
type AgreementReport struct {
	Reference int     `json:"reference"` // reference boxes that were looked for
	Found     int     `json:"found"`     // of them reproduced
	Share     float64 `json:"share"`     // Found/Reference in 0..1; 0 when there was nothing to look for
	Misses    []Miss  `json:"misses"`    // the worst, at most MaxMisses: least overlap first, then highest score
}

// Miss is a reference box that was not reproduced, with what came nearest.
type Miss struct {
	Reference Result  `json:"reference"`
	Nearest   *Result `json:"nearest"`    // nil when ours has nothing of that class in that picture
	IoU       float64 `json:"iou"`        // of Reference and Nearest
	ScoreDiff float64 `json:"score_diff"` // Nearest's score less Reference's
}

// String is one line for a person.
func (m Miss) String() string {
	r := m.Reference
	where := fmt.Sprintf("image %d, category %d, score %.5f at %.2f", r.ImageID, r.CategoryID, r.Score, r.BBox)
	if m.Nearest == nil {
		return where + ": nothing of that category there"
	}
	return fmt.Sprintf("%s: nearest has IoU %.4f and score %+.5f", where, m.IoU, m.ScoreDiff)
}

// MaxMisses bounds the list in an AgreementReport: enough to see a pattern.
const MaxMisses = 20

// scoreSlack forgives what binary fractions do to a difference of scores that were written with five decimals.
const scoreSlack = 1e-9

// Agreement looks for every reference box with a score of at least minScore among ours: the same image and
// category, an IoU of at least minIoU and scores that differ by scoreTol at most. One box of ours may stand for
// several of the reference.
func Agreement(ref, ours []Result, minScore, minIoU, scoreTol float64) AgreementReport {
	type key struct {
		image    int64
		category int
	}
	byKey := map[key][]*Result{}
	for i := range ours {
		k := key{ours[i].ImageID, ours[i].CategoryID}
		byKey[k] = append(byKey[k], &ours[i])
	}
	var report AgreementReport
	for _, r := range ref {
		if r.Score < minScore {
			continue
		}
		report.Reference++
		miss := nearest(r, byKey[key{r.ImageID, r.CategoryID}], minIoU)
		if miss.Nearest != nil && miss.IoU >= minIoU && math.Abs(miss.ScoreDiff) <= scoreTol+scoreSlack {
			report.Found++
			continue
		}
		report.Misses = append(report.Misses, miss)
	}
	if report.Reference > 0 {
		report.Share = float64(report.Found) / float64(report.Reference)
	}
	slices.SortStableFunc(report.Misses, func(p, q Miss) int {
		return cmp.Or(cmp.Compare(p.IoU, q.IoU), cmp.Compare(q.Reference.Score, p.Reference.Score))
	})
	report.Misses = slices.Clone(report.Misses[:min(len(report.Misses), MaxMisses)])
	return report
}

// nearest picks, of the candidates that overlap enough, the one with the closest score; if none does, the one that
// overlaps most.
func nearest(r Result, candidates []*Result, minIoU float64) Miss {
	best := Miss{Reference: r}
	for _, c := range candidates {
		iou, diff := boxIoU(c.BBox, r.BBox, false), c.Score-r.Score
		better := iou > best.IoU
		if best.Nearest == nil {
			better = true
		} else if iou >= minIoU && best.IoU >= minIoU {
			better = math.Abs(diff) < math.Abs(best.ScoreDiff)
		}
		if better {
			nearest := *c
			best.Nearest, best.IoU, best.ScoreDiff = &nearest, iou, diff
		}
	}
	return best
}
