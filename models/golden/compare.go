package golden

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gnomon/engine/detect"
)

const (
	// slack is how far numbers may be off because they were written in decimal and are held in 32 bits.
	slack = 1e-5
	// maxShown is how many differences an error names; the first ones say what is wrong.
	maxShown = 3
)

// Compare checks what a model found in picture i, which must be one of Pictures. got is in pixels of the picture, in
// any order, and not changed. nil means that nothing differs.
//
// The expected detections choose in the order of their scores, best first: each takes, of those of its class that are
// not taken, whose box overlaps by IoU and whose score differs by Score at most, the one that overlaps most. An
// expected one that gets none is missing. One that nobody took is surplus if its score is above the lowest score that
// the file expects in any picture by more than Score: what scores lower may have been below the threshold by a hair
// where the file was made. Where the file expects nothing at all, that score counts as 0.
//
// The error names the picture, the first differences, and for each what comes nearest to it.
func (g *Golden) Compare(i int, got []detect.Detection) error {
	if i < 0 || i >= len(g.Pictures) {
		return fmt.Errorf("compare with golden picture %d: there are %d", i, len(g.Pictures))
	}
	p := &g.Pictures[i]
	for _, d := range got {
		if !finite(d) {
			return fmt.Errorf("golden picture %s: the model found %s, which are no numbers", p.File, text(d))
		}
	}
	expected := slices.Clone(p.Detections)
	slices.SortStableFunc(expected, func(a, b detect.Detection) int { return cmp.Compare(b.Score, a.Score) })
	taken := make([]bool, len(got))
	var missing []detect.Detection
	for _, want := range expected {
		if at := g.match(want, got, taken); at >= 0 {
			taken[at] = true
		} else {
			missing = append(missing, want)
		}
	}
	var differences []string
	for _, want := range missing {
		differences = append(differences, fmt.Sprintf("%s is missing, %s", text(want), nearest("found", want, got, taken)))
	}
	surplus := g.lowestScore() + g.Score + slack
	for at, d := range got {
		if !taken[at] && d.Score > surplus {
			differences = append(differences, fmt.Sprintf("%s is surplus, %s", text(d), nearest("expected", d, missing, nil)))
		}
	}
	if len(differences) == 0 {
		return nil
	}
	more := ""
	if n := len(differences) - maxShown; n > 0 {
		more = fmt.Sprintf("; and %d more", n)
		differences = differences[:maxShown]
	}
	return errors.New("golden picture " + p.File + ": " + strings.Join(differences, "; ") + more)
}

// lowestScore is the lowest score that is expected in any picture; 0 when nothing is expected at all.
func (g *Golden) lowestScore() float32 {
	lowest, found := float32(0), false
	for _, p := range g.Pictures {
		for _, d := range p.Detections {
			if !found || d.Score < lowest {
				lowest, found = d.Score, true
			}
		}
	}
	return lowest
}

// match finds what an expected detection takes; -1 when there is nothing.
func (g *Golden) match(want detect.Detection, got []detect.Detection, taken []bool) int {
	at, best := -1, float32(0)
	for i, d := range got {
		if taken[i] || d.ClassID != want.ClassID || abs(d.Score-want.Score) > g.Score+slack {
			continue
		}
		if iou := d.Box.IoU(want.Box); iou >= g.IoU-slack && iou > best {
			at, best = i, iou
		}
	}
	return at
}

// nearest says what comes nearest to a detection among those that are not taken: what overlaps most, whatever its
// class. what says whose they are.
func nearest(what string, to detect.Detection, among []detect.Detection, taken []bool) string {
	at, best := -1, float32(0)
	for i, d := range among {
		if taken != nil && taken[i] {
			continue
		}
		if iou := d.Box.IoU(to.Box); iou > best {
			at, best = i, iou
		}
	}
	if at < 0 {
		return "and nothing " + what + " there"
	}
	return fmt.Sprintf("nearest %s is %s, IoU %.3f", what, text(among[at]), best)
}

// text writes a detection for people.
func text(d detect.Detection) string {
	b := d.Box
	return fmt.Sprintf("class %d at [%.1f %.1f %.1f %.1f] with score %.3f", d.ClassID, b.X1, b.Y1, b.X2, b.Y2, d.Score)
}

func finite(d detect.Detection) bool {
	for _, v := range [...]float32{d.Score, d.Box.X1, d.Box.Y1, d.Box.X2, d.Box.Y2} {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return false
		}
	}
	return true
}

func abs(v float32) float32 { return max(v, -v) }
