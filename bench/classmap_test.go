package bench

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gnomon/engine/detect"
)

// Ids fall where names rise, with gaps, as nothing may depend on the order of the file.
func fourCategories() []Category {
	return []Category{{ID: 90, Name: "teddy bear"}, {ID: 4, Name: "traffic light"}, {ID: 7, Name: "cat"}, {ID: 2, Name: "dog"}}
}

func TestClassMap(t *testing.T) {
	t.Parallel()
	const no = -1 // a class without a category
	tests := []struct {
		name      string
		classes   int
		labels    []string
		want      []int
		byName    bool
		unmatched []string
	}{
		{"all by name", 4, []string{"cat", "dog", "teddy bear", "traffic light"}, []int{7, 2, 90, 4}, true, nil},
		{"spelling", 4, []string{" Cat", "DOG", "teddy_bear", "Traffic-Light "}, []int{7, 2, 90, 4}, true, nil},
		{"some of the categories", 2, []string{"teddy bear", "cat"}, []int{90, 7}, true, nil},
		{"most", 3, []string{"cat", "lamp", "dog"}, []int{7, no, 2}, true, []string{"lamp"}},
		{"two classes, one category", 3, []string{"cat", "Cat", "dog"}, []int{7, 7, 2}, true, nil},
		{"no labels", 4, nil, []int{2, 4, 7, 90}, false, nil},
		{"half is not most", 4, []string{"dog", "cat", "a", "b"}, []int{2, 4, 7, 90}, false, nil},
		{"other names", 4, []string{"Hund", "Ampel", "Katze", "Bär"}, []int{2, 4, 7, 90}, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := NewClassMap(tt.classes, tt.labels, fourCategories())
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for class := range tt.classes {
				id, ok := m.CategoryID(class)
				if !ok {
					id = no
				}
				got = append(got, id)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ids, -want +got:\n%s", diff)
			}
			if m.ByName != tt.byName {
				t.Errorf("ByName = %t, want %t", m.ByName, tt.byName)
			}
			if diff := cmp.Diff(tt.unmatched, m.Unmatched); diff != "" {
				t.Errorf("unmatched, -want +got:\n%s", diff)
			}
			for _, outside := range []int{-1, tt.classes} {
				if id, ok := m.CategoryID(outside); ok {
					t.Errorf("class %d has category %d", outside, id)
				}
			}
		})
	}
}

func TestClassMapRefuses(t *testing.T) {
	t.Parallel()
	const advice = "; write the categories' names as labels in the model's manifest, or use annotations of the model's own classes"
	tests := []struct {
		name       string
		classes    int
		labels     []string
		categories []Category
		want       string
	}{
		{"no classes", 0, nil, fourCategories(), "map classes: the model has 0 classes; at least one is needed"},
		{"labels missing", 3, []string{"cat", "dog"}, fourCategories(), "map classes: the model has 3 classes but 2 labels; write one label a class in its manifest"},
		{"neither names nor number", 2, nil, fourCategories(), "map classes: the model has no labels, and 2 classes cannot be matched with 4 categories by order" + advice},
		{
			"foreign labels", 7,
			[]string{"a", "b", "c", "d", "e", "f", "cat"},
			fourCategories(),
			`map classes: 6 of 7 labels are no category's name (["a" "b" "c" "d" "e"] …), and 7 classes cannot be matched with 4 categories by order` + advice,
		},
		{
			"ambiguous name", 1,
			[]string{"cat"},
			[]Category{{ID: 1, Name: "cat"}, {ID: 5, Name: "Cat"}},
			`map classes: the label "cat" is the name of the categories 1 and 5; give the categories names that differ`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewClassMap(tt.classes, tt.labels, tt.categories)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error = %v\nwant    %s", err, tt.want)
			}
		})
	}
}

func TestClassMapResult(t *testing.T) {
	t.Parallel()
	m, err := NewClassMap(3, []string{"cat", "lamp", "dog"}, fourCategories())
	if err != nil {
		t.Fatal(err)
	}
	d := detect.Detection{Box: detect.Box{X1: 10, Y1: 20.5, X2: 15, Y2: 100}, Score: 0.75, ClassID: 2}
	got, ok := m.Result(17, d)
	want := Result{ImageID: 17, CategoryID: 2, BBox: [4]float64{10, 20.5, 5, 79.5}, Score: 0.75}
	if !ok || got != want {
		t.Errorf("Result = %+v, %t, want %+v", got, ok, want)
	}
	d.ClassID = 1
	if got, ok := m.Result(17, d); ok {
		t.Errorf("a class without a category became %+v", got)
	}
}
