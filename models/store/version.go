package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// Meta describes a model version.
type Meta struct {
	URI       string    `json:"uri,omitempty"`     // where it came from
	Name      string    `json:"name,omitempty"`    // of the model, for people
	Version   string    `json:"version,omitempty"` // likewise
	Release   int64     `json:"release,omitempty"` // rises from one release to the next
	Files     []File    `json:"files"`             // all of them; at least one
	Installed time.Time `json:"installed"`         // Collect removes the oldest first; zero in Install means now
}

// File is one file of a version. Name is relative to the version's folder and uses slashes; Size is in bytes; SHA256
// is in lower-case hexadecimal.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Version is an installed version. It is a copy that belongs to the caller; the files in Dir must not be changed.
type Version struct {
	SHA256 string // of the artefact that it came from, the name in the store
	Meta
	Dir string // absolute
}

// onDisk is the form of version.json.
type onDisk struct {
	Format int    `json:"format"`
	SHA256 string `json:"sha256"`
	Meta
}

// metaFormat is the only format of version.json so far.
const metaFormat = 1

// check refuses what cannot be installed, or was not written by Install.
func (m *Meta) check() error {
	if len(m.Files) == 0 || len(m.Files) > maxFiles {
		return fmt.Errorf("%w: a version of %d files; it needs 1 to %d", ErrInvalid, len(m.Files), maxFiles)
	}
	if m.Release < 0 {
		return fmt.Errorf("%w: release %d", ErrInvalid, m.Release)
	}
	err := errors.Join(checkWord("a URI", m.URI, maxReference), checkWord("a name", m.Name, maxWord), checkWord("a version", m.Version, maxWord))
	if err != nil {
		return err
	}
	seen := make(map[string]struct{}, len(m.Files))
	for _, f := range m.Files {
		if err := checkFileName(f.Name); err != nil {
			return err
		}
		if err := checkSHA(f.SHA256); err != nil {
			return fmt.Errorf("file %q: %w", f.Name, err)
		}
		if f.Size < 0 || f.Size > maxFileSize {
			return fmt.Errorf("%w: file %q of %d bytes", ErrInvalid, f.Name, f.Size)
		}
		if _, twice := seen[f.Name]; twice {
			return fmt.Errorf("%w: file %q is listed twice", ErrInvalid, f.Name)
		}
		seen[f.Name] = struct{}{}
	}
	return nil
}

// Version returns an installed version. It wraps ErrNotFound when there is none, and ErrDamaged when its description
// does not make sense or a file is missing or has another size. It does not read the files: that is Verify.
func (s *Store) Version(sha string) (*Version, error) {
	if err := s.usable(sha); err != nil {
		return nil, err
	}
	dir := path.Join(versionsDir, sha)
	if info, err := s.root.Lstat(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, sha)
		}
		return nil, fmt.Errorf("model version %s: %w", sha, explain(err))
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a directory", ErrDamaged, sha)
	}
	v, err := s.readVersion(sha, dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w; install it again", ErrDamaged, sha, err)
	}
	return v, nil
}

// readVersion reads version.json and compares sizes.
func (s *Store) readVersion(sha, dir string) (*Version, error) {
	data, err := readFile(s.root, path.Join(dir, metaName), maxMeta)
	if err != nil {
		return nil, err
	}
	v, err := parseMeta(sha, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", metaName, err)
	}
	for _, f := range v.Files {
		info, err := s.root.Lstat(path.Join(dir, f.Name))
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() || info.Size() != f.Size {
			return nil, fmt.Errorf("%s has %d bytes (%s), it was installed with %d", f.Name, info.Size(), info.Mode().Type(), f.Size)
		}
	}
	v.Dir = filepath.Join(s.dir, dir)
	return v, nil
}

// parseMeta reads the version.json of the version with the given digest.
func parseMeta(sha string, data []byte) (*Version, error) {
	var d onDisk
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	if d.Format != metaFormat {
		return nil, fmt.Errorf("format %d, this program reads format %d", d.Format, metaFormat)
	}
	if d.SHA256 != sha {
		return nil, fmt.Errorf("it belongs to version %.80q", d.SHA256)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return &Version{SHA256: sha, Meta: d.Meta}, nil
}

// Versions returns all versions that are whole as far as Version can tell, by digest. Damaged ones are left out.
func (s *Store) Versions() ([]*Version, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	names, err := s.list(versionsDir)
	if err != nil {
		return nil, fmt.Errorf("list model versions: %w", explain(err))
	}
	var all []*Version
	for _, name := range names {
		if v, err := s.Version(name); err == nil {
			all = append(all, v)
		}
	}
	return all, nil
}

// Verify reads every file of a version and compares its digest; ErrDamaged tells that one differs.
func (s *Store) Verify(sha string) error {
	v, err := s.Version(sha)
	if err != nil {
		return err
	}
	for _, f := range v.Files {
		if err := checkContents(s.root, path.Join(versionsDir, sha, f.Name), f); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDamaged, sha, explain(err))
		}
	}
	return nil
}

// checkContents compares the size and digest of the file at name with f.
func checkContents(root *os.Root, name string, f File) error {
	r, err := openRegular(root, name)
	if err != nil {
		return err
	}
	defer r.Close()
	want, err := hex.DecodeString(f.SHA256)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, f.Size+1)) // no more, should the file grow without end
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name, err)
	}
	if n != f.Size {
		return fmt.Errorf("%s does not have the %d bytes that it should have", f.Name, f.Size)
	}
	if got := h.Sum(nil); !bytes.Equal(got, want) {
		return fmt.Errorf("%s has the digest %x, it should have %s", f.Name, got, f.SHA256)
	}
	return nil
}

// usable refuses digests that are none and stores that are closed.
func (s *Store) usable(sha string) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return checkSHA(sha)
}

// list returns the names in a directory that are digests, sorted; anything else in there is not ours.
func (s *Store) list(dir string) ([]string, error) {
	names, err := s.names(dir)
	return slices.DeleteFunc(names, func(name string) bool { return checkSHA(name) != nil }), err
}

// names returns the names in a directory, sorted.
func (s *Store) names(dir string) ([]string, error) {
	d, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}
