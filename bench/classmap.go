package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gnomon/engine/detect"
)

// ClassMap says which category each class of a model is. The zero value knows no classes. It is not changed after
// NewClassMap: copy and share it freely.
type ClassMap struct {
	ids   []int
	known []bool

	// ByName tells whether labels decided; otherwise the order of the categories' ids did.
	ByName bool
	// Unmatched lists the labels that are no category's name, in the order of the classes. Their detections are
	// left out, which costs average precision where the category exists under another name. Empty unless ByName.
	Unmatched []string
}

// maxNamedLabels is how many labels an error spells out: enough to see what kind of list it is.
const maxNamedLabels = 5

// NewClassMap maps the classes of a model to categories: by label when more than half of the labels are names of
// categories (case, surrounding space and _ or - for a space aside); otherwise, when there are as many classes as
// categories, by order, class 0 being the category with the lowest id. Anything else is an error that says what to
// do. labels has one entry a class, or none when the model has none.
func NewClassMap(classes int, labels []string, categories []Category) (ClassMap, error) {
	if classes < 1 {
		return ClassMap{}, fmt.Errorf("map classes: the model has %d classes; at least one is needed", classes)
	}
	if len(labels) != 0 && len(labels) != classes {
		return ClassMap{}, fmt.Errorf("map classes: the model has %d classes but %d labels; write one label a class in its manifest", classes, len(labels))
	}
	m := ClassMap{ids: make([]int, classes), known: make([]bool, classes)}
	if err := m.byName(labels, categories); err != nil {
		return ClassMap{}, err
	}
	if matched := len(labels) - len(m.Unmatched); 2*matched > classes {
		m.ByName = true
		return m, nil
	}
	if classes != len(categories) {
		return ClassMap{}, fmt.Errorf("map classes: %s, and %d classes cannot be matched with %d categories by order; "+
			"write the categories' names as labels in the model's manifest, or use annotations of the model's own classes",
			m.nameTrouble(labels), classes, len(categories))
	}
	m.Unmatched = nil
	sorted := slices.SortedFunc(slices.Values(categories), func(p, q Category) int { return cmp.Compare(p.ID, q.ID) })
	for class, category := range sorted {
		m.ids[class], m.known[class] = category.ID, true
	}
	return m, nil
}

// byName fills in the classes whose labels are names of categories and lists the others.
func (m *ClassMap) byName(labels []string, categories []Category) error {
	named := make(map[string]Category, len(categories))
	twice := map[string]Category{}
	for _, c := range categories {
		name := plainName(c.Name)
		if _, taken := named[name]; taken {
			twice[name] = c
			continue
		}
		named[name] = c
	}
	for class, label := range labels {
		name := plainName(label)
		if other, ambiguous := twice[name]; ambiguous {
			return fmt.Errorf("map classes: the label %q is the name of the categories %d and %d; give the categories names that differ",
				label, named[name].ID, other.ID)
		}
		c, found := named[name]
		if !found {
			m.Unmatched = append(m.Unmatched, label)
			continue
		}
		m.ids[class], m.known[class] = c.ID, true
	}
	return nil
}

// nameTrouble says why names did not decide.
func (m *ClassMap) nameTrouble(labels []string) string {
	if len(labels) == 0 {
		return "the model has no labels"
	}
	some, more := m.Unmatched, ""
	if len(some) > maxNamedLabels {
		some, more = some[:maxNamedLabels], " …"
	}
	return fmt.Sprintf("%d of %d labels are no category's name (%q%s)", len(m.Unmatched), len(labels), some, more)
}

// plainName is a name without the differences that lists of labels have among themselves.
func plainName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return ' '
		}
		return r
	}, strings.ToLower(name))
	return strings.Join(strings.Fields(name), " ")
}

// CategoryID is the category of a class; false when the class has none or does not exist.
func (m ClassMap) CategoryID(class int) (int, bool) {
	if class < 0 || class >= len(m.ids) || !m.known[class] {
		return 0, false
	}
	return m.ids[class], true
}

// Result puts a detection, its box in pixels of the source picture, into COCO's terms; false when its class has no
// category.
func (m ClassMap) Result(imageID int64, d detect.Detection) (Result, bool) {
	id, ok := m.CategoryID(d.ClassID)
	if !ok {
		return Result{}, false
	}
	x, y := float64(d.Box.X1), float64(d.Box.Y1)
	return Result{
		ImageID:    imageID,
		CategoryID: id,
		BBox:       [4]float64{x, y, float64(d.Box.X2) - x, float64(d.Box.Y2) - y},
		Score:      float64(d.Score),
	}, true
}
