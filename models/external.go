package models

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"gnomon/config/yamldoc"
	"gnomon/models/onnx"
)

// Limits on the files that a model may have its weights in.
const (
	// maxExternalFiles is how many there may be: exporters write one, or one for each tensor, of which a detector has
	// a few hundred.
	maxExternalFiles = 1000
	// maxFileName is the longest name of one with its folders, in characters.
	maxFileName = 1024
	// maxShownFiles is how many an error names.
	maxShownFiles = 8
)

// inline puts weights that lie in other files into model.Bytes. The manifest has to list the files: what a model may
// reach for is for people to say, not for the model.
func (m *Model) inline() error {
	var listed []string
	if m.Manifest != nil {
		listed = m.Manifest.ExternalData
	}
	if len(listed) == 0 && len(m.Info.ExternalData) == 0 {
		return nil
	}
	if m.Path == "" {
		return errors.New("its weights are in other files, and a model in memory has no folder to find them in: save it with the weights inside")
	}
	if err := m.checkListed(listed); err != nil {
		return err
	}
	// os.Root keeps the names, which came from elsewhere, inside the folder, symbolic links included.
	root, err := os.OpenRoot(filepath.Dir(m.Path))
	if err != nil {
		return fmt.Errorf("open its folder for external_data: %w", err)
	}
	files := &weightFiles{root: root}
	defer files.close()
	var problems []yamldoc.Problem
	for i, name := range listed {
		if err := files.open(name); err != nil {
			problems = append(problems, yamldoc.Problem{
				Path: yamldoc.Index("external_data", i), Message: fmt.Sprintf("external_data lists %q: %v", name, err),
			})
		}
	}
	if len(problems) > 0 {
		return m.Manifest.report(problems)
	}
	inlined, err := onnx.Inline(m.Bytes, MaxModelSize, files.read)
	if err != nil {
		return fmt.Errorf("put its weights inside: %w", err)
	}
	m.Bytes = inlined
	return nil
}

// checkListed demands that every file that the model reaches for is in the manifest's list.
func (m *Model) checkListed(listed []string) error {
	known := map[string]bool{}
	for _, name := range listed {
		known[name] = true
	}
	missing := false
	for _, name := range m.Info.ExternalData {
		if strings.Contains(name, `\`) {
			return fmt.Errorf("its weights are in the file %q, and a backslash is a separator on some systems and a letter on others: save the model with / or with the weights inside", name)
		}
		missing = missing || !known[path.Clean(name)]
	}
	if !missing {
		return nil
	}
	line := "external_data: " + listText(m.Info.ExternalData)
	if m.Manifest == nil {
		return fmt.Errorf("its weights are in other files; if they came with the model, write in the manifest %s, or save it with the weights inside (it has no manifest; that would be the file %s)", line, trimExt(filepath.Base(m.name))+".yaml")
	}
	return m.Manifest.report([]yamldoc.Problem{{
		Path: "external_data", Message: fmt.Sprintf("external_data does not list all files that %s has its weights in; if they came with the model, write %s", m.name, line),
	}})
}

// listText writes file names as a YAML list.
func listText(names []string) string {
	shown := make([]string, 0, maxShownFiles)
	for _, name := range names[:min(len(names), maxShownFiles)] {
		shown = append(shown, fmt.Sprintf("%q", path.Clean(name)))
	}
	text := "[" + strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		return fmt.Sprintf("%s, and %d more]", text, more)
	}
	return text + "]"
}

// externalData checks the names that a manifest lists.
func (c *checker) externalData(m *Manifest) {
	if m.ExternalData != nil && len(m.ExternalData) == 0 {
		c.problems.Addf("external_data", "is an empty list; name the files that the model has its weights in, or remove the key")
	}
	if len(m.ExternalData) > maxExternalFiles {
		c.problems.Addf("external_data", "has %d entries, more than the %d that are allowed", len(m.ExternalData), maxExternalFiles)
		return
	}
	seen := map[string]bool{}
	for i, name := range m.ExternalData {
		at := yamldoc.Index("external_data", i)
		switch err := checkText(name, maxFileName); {
		case err != nil:
			c.problems.Addf(at, "%v", err)
		case strings.ContainsAny(name, `\:`):
			c.problems.Addf(at, "is %q; write a name without backslash and colon, with / between folders", shorten(name))
		case !filepath.IsLocal(name) || path.Clean(name) != name || name == ".":
			c.problems.Addf(at, "is %q; name a file in the model's folder or below it, in the shortest way", shorten(name))
		case seen[name]:
			c.problems.Addf(at, "is %q a second time; remove it", shorten(name))
		}
		seen[name] = true
	}
}

// weightFiles reads parts of files in a model's folder. One file is open at a time: the tensors of a file usually
// follow each other, and hundreds of open files could pass the process's limit. Not for concurrent use.
type weightFiles struct {
	root *os.Root
	name string // of the file that is open
	file *os.File
	size int64
	buf  []byte
}

// open makes name the file that is open.
func (w *weightFiles) open(name string) error {
	if w.file != nil && w.name == name {
		return nil
	}
	if w.file != nil {
		w.file.Close() //nolint:errcheck // it was only read
		w.file = nil
	}
	if info, err := w.root.Lstat(name); err == nil && info.Mode()&os.ModeSymlink != 0 {
		return errors.New("it is a symbolic link; put the file itself there")
	}
	f, info, err := yamldoc.OpenFile(w.root, name)
	if err != nil {
		return err
	}
	w.name, w.file, w.size = name, f, info.Size()
	return nil
}

// read returns a part of a file, in memory that the next call uses again.
func (w *weightFiles) read(location string, offset, length int64) ([]byte, error) {
	if err := w.open(path.Clean(location)); err != nil {
		return nil, err
	}
	if offset > w.size || length > w.size-offset {
		return nil, fmt.Errorf("it has %d bytes, and the model wants %d from byte %d on; the file belongs to another model, or is cut", w.size, length, offset)
	}
	if int64(cap(w.buf)) < length {
		w.buf = make([]byte, length)
	}
	buf := w.buf[:length]
	if _, err := w.file.ReadAt(buf, offset); err != nil {
		return nil, fmt.Errorf("read %d bytes from byte %d on: %w", length, offset, err)
	}
	return buf, nil
}

// close closes what is open.
func (w *weightFiles) close() {
	if w.file != nil {
		w.file.Close() //nolint:errcheck // it was only read
	}
	w.root.Close() //nolint:errcheck // likewise
}
