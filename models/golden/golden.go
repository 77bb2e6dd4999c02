package golden

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"

	"gnomon/engine/detect"
)

// Format is the version of the layout that this package reads.
const Format = 1

// Limits of what is read. The file comes with a model, so from anywhere.
const (
	maxFile       = 8 << 20  // bytes in golden.json: the most detections, written generously
	maxPictures   = 64       // each costs a run of the model before it is used
	maxDetections = 1000     // in a picture: more than a detector keeps by default
	maxPicture    = 32 << 20 // bytes in a picture: a photograph of 50 megapixels
	maxName       = 255      // bytes in the name of a picture with its folders
	maxReach      = 1 << 20  // pixels from the origin to a corner of a box
)

// Golden is what a model finds in some pictures.
type Golden struct {
	IoU      float32 // the least overlap with the expected box, above 0 and at most 1
	Score    float32 // the largest difference from the expected score, 0..1
	Pictures []Picture
}

// Picture is one picture and what is in it.
type Picture struct {
	File       string             // as golden.json has it: relative to its folder
	Path       string             // relative to the root that Read got
	Detections []detect.Detection // boxes in pixels of the picture
}

// document is the file. Pointers tell what is missing from what is 0.
type document struct {
	Format   *int      `json:"format"`
	IoU      *float32  `json:"iou"`
	Score    *float32  `json:"score"`
	Pictures []picture `json:"pictures"`
}

type picture struct {
	File       string      `json:"file"`
	Detections []detection `json:"detections"`
}

type detection struct {
	ClassID *int      `json:"class_id"`
	Score   *float32  `json:"score"`
	Box     []float32 `json:"box"`
}

// Read reads the description called name below root, and makes sure that the pictures are there: regular files in the
// folder of the description or below it. It does not look into them.
//
// All keys are required and others refused. Errors name the file, and the entry that is wrong.
func Read(root *os.Root, name string) (*Golden, error) {
	data, err := readFile(root, name)
	if err != nil {
		return nil, fmt.Errorf("golden pictures %s: %w", name, err)
	}
	g, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("golden pictures %s: %w", name, err)
	}
	for i := range g.Pictures {
		p := &g.Pictures[i]
		p.Path = path.Join(path.Dir(name), p.File)
		if _, err := lookAt(root, p.Path, maxPicture); err != nil {
			return nil, fmt.Errorf("golden pictures %s: picture %q: %w", name, p.File, err)
		}
	}
	return g, nil
}

// lookAt demands a regular file that is not too large.
func lookAt(root *os.Root, name string, limit int64) (os.FileInfo, error) {
	info, err := root.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file; put the file itself there")
	case info.Size() > limit:
		return nil, fmt.Errorf("it has %d bytes, more than the %d that are allowed", info.Size(), limit)
	}
	return info, nil
}

func readFile(root *os.Root, name string) ([]byte, error) {
	if _, err := lookAt(root, name, maxFile); err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has more than the %d bytes that are allowed", maxFile)
	}
	return data, err
}

// parse reads and checks a description.
func parse(data []byte) (*Golden, error) {
	// Counted before anything is made of it: objects without contents take three bytes there and many in memory.
	if n := bytes.Count(data, []byte("{")); n > 1+maxPictures*(1+maxDetections) {
		return nil, fmt.Errorf("it has %d objects, more than %d pictures with %d detections each", n, maxPictures, maxDetections)
	}
	var doc document
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("it is not the JSON that is expected: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after its end")
	}
	switch {
	case doc.Format == nil || *doc.Format != Format:
		return nil, fmt.Errorf("format must be %d, the layout that this gnomon reads", Format)
	case doc.IoU == nil || !(*doc.IoU > 0 && *doc.IoU <= 1):
		return nil, errors.New("iou must be a number above 0 and at most 1; 0.9 is usual")
	case doc.Score == nil || !(*doc.Score >= 0 && *doc.Score <= 1):
		return nil, errors.New("score must be a number from 0 to 1; 0.05 is usual")
	case len(doc.Pictures) == 0 || len(doc.Pictures) > maxPictures:
		return nil, fmt.Errorf("pictures must have 1 to %d entries, not %d", maxPictures, len(doc.Pictures))
	}
	g := &Golden{IoU: *doc.IoU, Score: *doc.Score}
	seen := map[string]bool{}
	for i, p := range doc.Pictures {
		if err := checkName(p.File); err != nil {
			return nil, fmt.Errorf("pictures[%d]: file %.100q %w", i, p.File, err)
		}
		if seen[p.File] {
			return nil, fmt.Errorf("pictures[%d]: file %q is there twice; leave one of them", i, p.File)
		}
		seen[p.File] = true
		found, err := p.read()
		if err != nil {
			return nil, fmt.Errorf("pictures[%d] (%s): %w", i, p.File, err)
		}
		g.Pictures = append(g.Pictures, Picture{File: p.File, Detections: found})
	}
	return g, nil
}

// checkName accepts names that stay below their folder on every system. The error continues a sentence.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("must have 1 to %d bytes", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.ContainsAny(name, "\\:\uFFFD"):
		return errors.New("has a backslash, a colon, or a character that cannot be printed")
	case !filepath.IsLocal(name) || path.Clean(name) != name || name == ".":
		return errors.New("must lie in the folder of the description and be written in the shortest way")
	}
	return nil
}

// read checks what is to be found in a picture.
func (p *picture) read() ([]detect.Detection, error) {
	if p.Detections == nil {
		return nil, errors.New("detections is missing; write [] if there is nothing to be found")
	}
	if len(p.Detections) > maxDetections {
		return nil, fmt.Errorf("detections has %d entries, at most %d are possible", len(p.Detections), maxDetections)
	}
	found := make([]detect.Detection, len(p.Detections))
	for i, d := range p.Detections {
		switch {
		case d.ClassID == nil || *d.ClassID < 0 || *d.ClassID >= detect.ClassesLimit:
			return nil, fmt.Errorf("detections[%d]: class_id must be a whole number from 0 to %d", i, detect.ClassesLimit-1)
		case d.Score == nil || !(*d.Score >= 0 && *d.Score <= 1):
			return nil, fmt.Errorf("detections[%d]: score must be a number from 0 to 1", i)
		case len(d.Box) != 4:
			return nil, fmt.Errorf("detections[%d]: box must have 4 numbers, x1, y1, x2, y2, not %d", i, len(d.Box))
		}
		for _, v := range d.Box {
			if v < -maxReach || v > maxReach {
				return nil, fmt.Errorf("detections[%d]: box has the corner %v, %d pixels are possible", i, v, maxReach)
			}
		}
		box := detect.Box{X1: d.Box[0], Y1: d.Box[1], X2: d.Box[2], Y2: d.Box[3]}
		if box.Area() <= 0 {
			return nil, fmt.Errorf("detections[%d]: box %v has no area; its order is x1, y1, x2, y2", i, d.Box)
		}
		found[i] = detect.Detection{Box: box, Score: *d.Score, ClassID: *d.ClassID}
	}
	return found, nil
}
