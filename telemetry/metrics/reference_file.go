package metrics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

func fileName(sha256 string) string { return sha256 + ".json" }

// isDigest tells whether a digest may become a name.
func isDigest(s string) bool {
	const digits = 64
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

// read reads a file; nil: there is none.
func (r *references) read(sha256 string) (*referenceFile, error) {
	if r.dir == "" || !isDigest(sha256) {
		return nil, nil
	}
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.Open(fileName(sha256))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxReference+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxReference {
		return nil, fmt.Errorf("%s is larger than %d bytes", fileName(sha256), maxReference)
	}
	f := &referenceFile{}
	if err := json.Unmarshal(data, f); err != nil {
		return nil, fmt.Errorf("%s: %w", fileName(sha256), err)
	}
	if err := f.check(sha256); err != nil {
		return nil, fmt.Errorf("%s: %w", fileName(sha256), err)
	}
	return f, nil
}

func (f *referenceFile) check(sha256 string) error {
	if f.Schema != referenceSchema || f.SHA256 != sha256 {
		return fmt.Errorf("it is %.40q of %.64q", f.Schema, f.SHA256)
	}
	if len(f.Sources) > maxReferenceSources {
		return fmt.Errorf("it has %d sources", len(f.Sources))
	}
	for i := range f.Sources {
		s := &f.Sources[i]
		if s.RunningS < 0 || s.RunningS > 2*referenceTime.Seconds() {
			return fmt.Errorf("source %.40q ran for %g s", s.Source, s.RunningS)
		}
		s.Running = time.Duration(s.RunningS * float64(time.Second))
		if s.Running >= referenceTime {
			f.complete++
		}
		if err := errors.Join(s.Confidence.check(confidenceBins), s.PerFrame.check(perFrameBins)); err != nil {
			return fmt.Errorf("source %.40q: %w", s.Source, err)
		}
	}
	return nil
}

// write replaces a file as a whole: after a power cut there is the old one or the new one.
func (r *references) write(f *referenceFile) (err error) {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	const private = 0o600
	temp := fileName(f.SHA256) + ".tmp"
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, private)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = root.Rename(temp, fileName(f.SHA256))
	}
	if err != nil {
		return errors.Join(err, root.Remove(temp))
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// prune removes the files that were written longest ago when there are too many.
func (r *references) prune() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	type old struct {
		name string
		at   time.Time
	}
	var files []old
	for _, e := range entries {
		digest, isReference := strings.CutSuffix(e.Name(), ".json")
		if info, err := e.Info(); err == nil && isReference && isDigest(digest) && r.files[digest] == nil {
			files = append(files, old{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b old) int { return a.at.Compare(b.at) })
	root, err := os.OpenRoot(r.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var errs []error
	for range len(files) + len(r.files) - maxReferences {
		if len(files) == 0 {
			break
		}
		errs = append(errs, root.Remove(files[0].name))
		files = files[1:]
	}
	return errors.Join(errs...)
}
