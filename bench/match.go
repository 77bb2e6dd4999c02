package bench

// picture is what one image holds of one category: a run of the matcher's results and one of its objects.
type picture struct {
	results, resultsEnd int
	objects, objectsEnd int
	overlaps            int // where the picture's IoUs begin: results x objects, row by row
}

// matcher assigns the results of one category to its objects. The overlaps are computed once; match may then be
// called for each area range. Results and objects are in the order of the pictures. Not for concurrent use.
type matcher struct {
	pictures []picture
	overlaps []float64

	objectArea []float64 // of each object
	crowd      []bool    // of each object
	resultArea []float64 // of each result that counts
	byScore    []int     // indices of results, best first over all pictures

	// Filled by match.
	toFind  int      // objects that count
	matched []uint16 // of each result: bit t is set when it found something at IoU threshold t
	ignored []uint16 // of each result: bit t is set when it counts neither for nor against there

	// Scratch memory.
	curve []float64
	skip  []bool // of each object: it does not count in this area range
	used  []bool // of each object of a picture
	order []int  // objects of a picture, those that count first
}

func newMatcher(a *Annotations, results []Result, g group) *matcher {
	m := &matcher{}
	var scores []float64
	for len(g.objects) > 0 || len(g.results) > 0 {
		objects, found := nextPicture(&g)
		found = found[:min(len(found), MaxResultsPerImage)]
		p := picture{
			results: len(m.resultArea), resultsEnd: len(m.resultArea) + len(found),
			objects: len(m.objectArea), objectsEnd: len(m.objectArea) + len(objects),
			overlaps: len(m.overlaps),
		}
		for _, o := range objects {
			m.objectArea = append(m.objectArea, a.Objects[o.at].Area)
			m.crowd = append(m.crowd, a.Objects[o.at].Crowd)
		}
		for _, f := range found {
			r := results[f.at]
			m.byScore = append(m.byScore, len(m.byScore))
			m.resultArea = append(m.resultArea, r.BBox[2]*r.BBox[3])
			scores = append(scores, r.Score)
			for _, o := range objects {
				m.overlaps = append(m.overlaps, boxIoU(r.BBox, a.Objects[o.at].BBox, a.Objects[o.at].Crowd))
			}
		}
		m.pictures = append(m.pictures, p)
	}
	sortByScore(m.byScore, scores)
	m.matched = make([]uint16, len(m.resultArea))
	m.ignored = make([]uint16, len(m.resultArea))
	m.skip = make([]bool, len(m.objectArea))
	return m
}

// nextPicture takes the first image's objects and results off the group.
func nextPicture(g *group) (objects, results []located) {
	var image int
	switch {
	case len(g.objects) == 0:
		image = g.results[0].image
	case len(g.results) == 0:
		image = g.objects[0].image
	default:
		image = min(g.objects[0].image, g.results[0].image)
	}
	objects, g.objects = splitImage(g.objects, image)
	results, g.results = splitImage(g.results, image)
	return objects, results
}

// splitImage cuts the leading run of one image off a sorted list.
func splitImage(list []located, image int) (head, tail []located) {
	n := 0
	for n < len(list) && list[n].image == image {
		n++
	}
	return list[:n], list[n:]
}

// match assigns every result at every IoU threshold, counting only objects within the area range.
func (m *matcher) match(within areaRange) {
	clear(m.matched)
	clear(m.ignored)
	m.toFind = 0
	for i, area := range m.objectArea {
		m.skip[i] = m.crowd[i] || !within.holds(area)
		if !m.skip[i] {
			m.toFind++
		}
	}
	if m.toFind == 0 {
		return
	}
	iou := thresholds()
	for _, p := range m.pictures {
		if p.results == p.resultsEnd {
			continue
		}
		m.arrange(p)
		for t, threshold := range iou {
			m.matchPicture(p, uint16(1)<<t, threshold)
		}
		for r := p.results; r < p.resultsEnd; r++ {
			if !within.holds(m.resultArea[r]) {
				m.ignored[r] |= ^m.matched[r]
			}
		}
	}
}

// arrange orders a picture's objects for matching: those that count first, each part in the order of the file.
func (m *matcher) arrange(p picture) {
	m.order = m.order[:0]
	for _, skipped := range [...]bool{false, true} {
		for o := p.objects; o < p.objectsEnd; o++ {
			if m.skip[o] == skipped {
				m.order = append(m.order, o)
			}
		}
	}
}

// matchPicture lets a picture's results, best first, each take the object that they overlap most at or above the
// threshold; of equal overlaps the later object is taken, and one that counts before one that does not, whatever
// the overlap. Crowd regions can be taken any number of times.
func (m *matcher) matchPicture(p picture, bit uint16, threshold float64) {
	columns := p.objectsEnd - p.objects
	if cap(m.used) < columns {
		m.used = make([]bool, columns)
	}
	used := m.used[:columns]
	clear(used)
	for r := p.results; r < p.resultsEnd; r++ {
		row := m.overlaps[p.overlaps+(r-p.results)*columns:]
		best, hit := threshold, -1
		for _, o := range m.order {
			column := o - p.objects
			if used[column] && !m.crowd[o] {
				continue
			}
			if hit >= 0 && !m.skip[hit] && m.skip[o] {
				break
			}
			if row[column] < best {
				continue
			}
			best, hit = row[column], o
		}
		if hit < 0 {
			continue
		}
		used[hit-p.objects] = true
		m.matched[r] |= bit
		if m.skip[hit] {
			m.ignored[r] |= bit
		}
	}
}
