package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Annotations is the ground truth of a set of pictures: the parts of a COCO instances file that box evaluation
// needs. Masks, licences and everything else in the file are passed over.
type Annotations struct {
	Images     []Image
	Objects    []Object // COCO's "annotations"
	Categories []Category
}

// Image is one annotated picture.
type Image struct {
	ID       int64
	FileName string // relative to the folder of pictures, and inside it
	Width    int    // pixels
	Height   int    // pixels
}

// Object is one annotated object, or one region crowded with them.
type Object struct {
	ImageID    int64
	CategoryID int
	BBox       [4]float64 // x, y, width, height in pixels
	Area       float64    // square pixels; of the mask where there was one, so often less than width x height
	Crowd      bool       // a region with many objects: detections in it count neither for nor against
}

// Category is a class that objects can have. The ids of COCO's 80 categories run from 1 to 90 with gaps.
type Category struct {
	ID   int
	Name string
}

// maxArea is the end of the published protocol's area range "all", in square pixels.
const maxArea = MaxCoordinate * MaxCoordinate

// The sections of an instances file.
const (
	sectionImages     = "images"
	sectionObjects    = "annotations"
	sectionCategories = "categories"
)

// LoadAnnotations reads a COCO instances file of at most MaxFileBytes. Its images, annotations and categories must
// be there and complete: ids unique, sizes not negative, every annotation about a known image and category, and
// file names inside the folder of pictures. The error names the file, the element and its line and column.
func LoadAnnotations(path string) (*Annotations, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read annotations: %w", err)
	}
	defer f.Close()
	a, err := parseAnnotations(f, MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read annotations %s: %w", path, err)
	}
	return a, nil
}

// parseAnnotations is LoadAnnotations on an open file with a limit in bytes.
func parseAnnotations(r io.Reader, limit int64) (*Annotations, error) {
	doc, err := readDocument(r, limit)
	if err != nil {
		return nil, err
	}
	a := &Annotations{}
	var offsets []int64 // of each object: images and categories may follow the annotations in the file
	seen := map[string]bool{}
	err = doc.sections(func(name string, dec *json.Decoder) error {
		if seen[name] {
			return fmt.Errorf("%s: %q is there twice; keep one", doc.place(doc.next(dec)), name)
		}
		seen[name] = true
		switch name {
		case sectionImages:
			return elements(doc, dec, name, func(e imageJSON, _ int64) error { return e.appendTo(a) })
		case sectionObjects:
			return elements(doc, dec, name, func(e objectJSON, offset int64) error {
				offsets = append(offsets, offset)
				return e.appendTo(a)
			})
		case sectionCategories:
			return elements(doc, dec, name, func(e categoryJSON, _ int64) error { return e.appendTo(a) })
		default:
			var skipped json.RawMessage
			return dec.Decode(&skipped)
		}
	})
	if err != nil {
		return nil, err
	}
	for _, name := range [...]string{sectionImages, sectionObjects, sectionCategories} {
		if !seen[name] {
			return nil, fmt.Errorf("no %q; a COCO instances file is an object with images, annotations and categories", name)
		}
	}
	if _, err := index(a); err != nil {
		var bad *badObjectError
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("%s: %w", doc.place(offsets[bad.at]), err)
		}
		return nil, err
	}
	return a, nil
}

type imageJSON struct {
	ID       *int64  `json:"id"`
	FileName *string `json:"file_name"`
	Width    *int    `json:"width"`
	Height   *int    `json:"height"`
}

func (e imageJSON) appendTo(a *Annotations) error {
	switch {
	case e.ID == nil:
		return missing("id", "a whole number")
	case e.FileName == nil:
		return missing("file_name", "the picture's name in its folder")
	case e.Width == nil:
		return missing("width", "in pixels")
	case e.Height == nil:
		return missing("height", "in pixels")
	}
	// The name is joined to a folder and opened, so it must not lead out of there.
	if !filepath.IsLocal(*e.FileName) {
		return fmt.Errorf("file_name %q leads out of the folder of pictures; it must stay inside", *e.FileName)
	}
	for _, side := range [...]int{*e.Width, *e.Height} {
		if side < 1 || side > MaxCoordinate {
			return fmt.Errorf("the size %dx%d is impossible; both sides must be within 1..%d pixels", *e.Width, *e.Height, int(MaxCoordinate))
		}
	}
	a.Images = append(a.Images, Image{ID: *e.ID, FileName: *e.FileName, Width: *e.Width, Height: *e.Height})
	return nil
}

type objectJSON struct {
	ImageID    *int64     `json:"image_id"`
	CategoryID *int       `json:"category_id"`
	BBox       []*float64 `json:"bbox"`
	Area       *float64   `json:"area"`
	IsCrowd    int        `json:"iscrowd"`
}

func (e objectJSON) appendTo(a *Annotations) error {
	switch {
	case e.ImageID == nil:
		return missing("image_id", "the id of one of the images")
	case e.CategoryID == nil:
		return missing("category_id", "the id of one of the categories")
	case e.BBox == nil:
		return missing("bbox", "[x, y, width, height] in pixels")
	case e.Area == nil:
		return missing("area", "in square pixels: width times height of the bbox where there is no mask")
	case e.IsCrowd != 0 && e.IsCrowd != 1:
		return fmt.Errorf("iscrowd is %d; it must be 0 or 1", e.IsCrowd)
	}
	box, err := boxOf(e.BBox)
	if err != nil {
		return err
	}
	a.Objects = append(a.Objects, Object{ImageID: *e.ImageID, CategoryID: *e.CategoryID, BBox: box, Area: *e.Area, Crowd: e.IsCrowd == 1})
	return nil
}

type categoryJSON struct {
	ID   *int    `json:"id"`
	Name *string `json:"name"`
}

func (e categoryJSON) appendTo(a *Annotations) error {
	switch {
	case e.ID == nil:
		return missing("id", "a whole number")
	case e.Name == nil:
		return missing("name", "the category's name")
	}
	a.Categories = append(a.Categories, Category{ID: *e.ID, Name: *e.Name})
	return nil
}

func missing(field, meaning string) error {
	return fmt.Errorf("has no %s (%s)", field, meaning)
}
