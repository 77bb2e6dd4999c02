package shadows

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"gnomon/devcloud/internal/statefile"
)

const (
	dirMode    = 0o700
	fileSuffix = ".json"
	asideMark  = ".damaged"
	newPrefix  = ".new-"   // of statefile's files before they are renamed; a crash leaves them
	maxFile    = 256 << 10 // bytes: 8 KB of state, and 25 of metadata for each of its two-byte elements, twice over
)

// stored is a file: the document as get/accepted shows it, and whose it is.
type stored struct {
	Thing    string   `json:"thing"`
	Name     string   `json:"name,omitempty"`
	Deleted  int64    `json:"deleted,omitempty"` // seconds since 1970
	Version  int64    `json:"version"`
	State    sections `json:"state"`
	Metadata sections `json:"metadata"`
}

// file is the name of the shadow's file. Names differ in case and have colons, which not every file system keeps apart,
// so it is their hash; thing and name stand in the file.
func (k key) file() string {
	sum := sha256.Sum256([]byte(k.thing + "/" + k.name))
	return hex.EncodeToString(sum[:]) + fileSuffix
}

func (s *Service) save(k key, r *record) error {
	d := r.full()
	data := encode(stored{
		Thing: k.thing, Name: k.name, Deleted: r.deleted, Version: d.Version, State: d.State, Metadata: d.Metadata,
	})
	if err := statefile.Write(filepath.Join(s.dir, k.file()), data); err != nil {
		return fmt.Errorf("write the shadow of %s: %w", k.thing, err)
	}
	return nil
}

func (s *Service) forget(k key) error {
	if err := os.Remove(filepath.Join(s.dir, k.file())); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the file of the deleted shadow of %s: %w", k.thing, err)
	}
	return nil
}

// load reads the directory.
func (s *Service) load() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("read the directory of the shadows; check its permissions: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case strings.HasPrefix(name, newPrefix):
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				return fmt.Errorf("remove a half-written shadow: %w", err)
			}
		case strings.HasSuffix(name, fileSuffix):
			if err := s.loadFile(entry); err != nil {
				return err
			}
		}
		if len(s.shadows) > maxShadows {
			return fmt.Errorf("there are more than %d shadows in %s; delete some of its files", maxShadows, s.dir)
		}
	}
	return nil
}

// loadFile takes one shadow in. A file that is damaged is kept under another name, for a person to look at.
func (s *Service) loadFile(entry os.DirEntry) error {
	path := filepath.Join(s.dir, entry.Name())
	info, err := entry.Info()
	if err != nil {
		return fmt.Errorf("look at a file of the shadows: %w", err)
	}
	k, r, damage := key{}, (*record)(nil), errors.New("it is no regular file or larger than a shadow can be")
	if info.Mode().IsRegular() && info.Size() <= maxFile {
		data, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a shadow; check the permissions of the state directory: %w", err)
		}
		k, r, damage = decodeFile(data)
	}
	if damage == nil && k.file() != entry.Name() {
		damage = errors.New("it is another shadow's file")
	}
	if damage == nil {
		s.shadows[k] = r
		return nil
	}
	if err := os.Rename(path, path+asideMark); err != nil {
		return fmt.Errorf("set a damaged shadow aside: %w", err)
	}
	s.log.Warn("a damaged shadow was set aside and does not exist any more; its device will report again",
		zap.String("file", path+asideMark), zap.Error(damage))
	return nil
}

func decodeFile(data []byte) (key, *record, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	f := stored{}
	if err := dec.Decode(&f); err != nil {
		return key{}, nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return key{}, nil, errors.New("there is more behind the document")
	}
	k, r := key{f.Thing, f.Name}, &record{version: f.Version, deleted: f.Deleted}
	if !k.valid() || f.Version < 0 || f.Deleted < 0 {
		return k, nil, errors.New("a name, the version or the time of deletion is impossible")
	}
	var err error
	if r.desired, err = joinSection(f.State.Desired, f.Metadata.Desired); err != nil {
		return k, nil, fmt.Errorf("desired: %w", err)
	}
	if r.reported, err = joinSection(f.State.Reported, f.Metadata.Reported); err != nil {
		return k, nil, fmt.Errorf("reported: %w", err)
	}
	if r.deleted != 0 && r.size() > 0 {
		return k, nil, errors.New("a deleted shadow has a state")
	}
	if r.size() > maxState || levels(f.State.Desired) > maxDepth || levels(f.State.Reported) > maxDepth {
		return k, nil, errors.New("the state is larger or deeper than a shadow's")
	}
	return k, r, nil
}

func joinSection(v, metadata any) (*node, error) {
	if v == nil && metadata == nil {
		return nil, nil
	}
	if object, ok := v.(map[string]any); !ok || len(object) == 0 {
		return nil, errors.New("it is no object with members")
	}
	return join(v, metadata)
}
