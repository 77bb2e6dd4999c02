package bench

import (
	"cmp"
	"fmt"
	"slices"
)

// lookup finds images and categories by id.
type lookup struct {
	images     map[int64]int // id to index in Annotations.Images
	categories map[int]int   // id to index in Annotations.Categories
}

// badObjectError is trouble with one of the objects, so that whoever knows where it came from can say so.
type badObjectError struct {
	at      int // index in Annotations.Objects
	trouble string
}

func (e *badObjectError) Error() string { return fmt.Sprintf("annotations[%d]: %s", e.at, e.trouble) }

// index checks that the parts of a fit together and makes them easy to find.
func index(a *Annotations) (lookup, error) {
	l := lookup{images: make(map[int64]int, len(a.Images)), categories: make(map[int]int, len(a.Categories))}
	for i, image := range a.Images {
		if first, twice := l.images[image.ID]; twice {
			return l, fmt.Errorf("images[%d] and images[%d] share the id %d; ids must differ", first, i, image.ID)
		}
		l.images[image.ID] = i
	}
	for i, category := range a.Categories {
		if first, twice := l.categories[category.ID]; twice {
			return l, fmt.Errorf("categories[%d] and categories[%d] share the id %d; ids must differ", first, i, category.ID)
		}
		l.categories[category.ID] = i
	}
	for i, o := range a.Objects {
		trouble := l.missing(o.ImageID, o.CategoryID)
		switch {
		case trouble != "":
		case !(o.Area >= 0 && o.Area <= maxArea): // also NaN
			trouble = fmt.Sprintf("area is %s; it must be within 0..%s square pixels", number(o.Area), number(maxArea))
		default:
			trouble = checkBox(o.BBox)
		}
		if trouble != "" {
			return l, &badObjectError{at: i, trouble: trouble}
		}
	}
	return l, nil
}

// missing says which of the two ids the annotations do not hold, or nothing.
func (l lookup) missing(image int64, category int) string {
	if _, known := l.images[image]; !known {
		return fmt.Sprintf("image_id %d is not the id of any of the %d images", image, len(l.images))
	}
	if _, known := l.categories[category]; !known {
		return fmt.Sprintf("category_id %d is not the id of any of the %d categories", category, len(l.categories))
	}
	return ""
}

// located is a position in a slice of objects or results, with the image it belongs to.
type located struct {
	image int // index in Annotations.Images
	at    int // index in the slice
}

// group is everything of one category, sorted by image in the order of Annotations.Images.
type group struct {
	category Category
	objects  []located // within an image in the order of the file
	results  []located // within an image by score, best first; equal scores in the order given
}

// groups sorts objects and results by category, and the categories by id. Results are checked on the way.
func groups(a *Annotations, results []Result) ([]group, error) {
	l, err := index(a)
	if err != nil {
		return nil, err
	}
	all := make([]group, len(a.Categories))
	for i, c := range a.Categories {
		all[i].category = c
	}
	for i, o := range a.Objects {
		g := &all[l.categories[o.CategoryID]]
		g.objects = append(g.objects, located{image: l.images[o.ImageID], at: i})
	}
	for i, r := range results {
		trouble := r.check()
		if trouble == "" {
			trouble = l.missing(r.ImageID, r.CategoryID)
		}
		if trouble != "" {
			return nil, fmt.Errorf("results[%d]: %s", i, trouble)
		}
		g := &all[l.categories[r.CategoryID]]
		g.results = append(g.results, located{image: l.images[r.ImageID], at: i})
	}
	for _, g := range all {
		slices.SortStableFunc(g.objects, func(p, q located) int { return cmp.Compare(p.image, q.image) })
		slices.SortStableFunc(g.results, func(p, q located) int {
			return cmp.Or(cmp.Compare(p.image, q.image), cmp.Compare(results[q.at].Score, results[p.at].Score))
		})
	}
	slices.SortFunc(all, func(p, q group) int { return cmp.Compare(p.category.ID, q.category.ID) })
	return all, nil
}
