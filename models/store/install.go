package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Staging returns a private directory for the download of a version and makes it if it is not there. What is in it
// survives restarts, so that downloads resume, until Install or DiscardStaging, or until a Collect after which nobody
// wants it, or an Open after it has lain for a week.
func (s *Store) Staging(sha string) (string, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable(sha); err != nil {
		return "", err
	}
	dir := path.Join(stagingDir, sha)
	if err := s.makeStaging(dir); err != nil {
		return "", fmt.Errorf("make a directory for the download of %s: %w", sha, explain(err))
	}
	s.staged[sha] = struct{}{}
	return filepath.Join(s.dir, dir), nil
}

func (s *Store) makeStaging(dir string) error {
	if err := s.step("staging: make"); err != nil {
		return err
	}
	if err := s.root.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := s.root.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is not a directory; remove it", ErrInvalid, dir)
	}
	now := time.Now()
	return s.root.Chtimes(dir, now, now)
}

// DiscardStaging throws a download away. There need not be one.
func (s *Store) DiscardStaging(sha string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.usable(sha); err != nil {
		return err
	}
	delete(s.staged, sha)
	if err := s.discard(stagingDir, sha); err != nil {
		return fmt.Errorf("discard the download of %s: %w", sha, explain(err))
	}
	return nil
}

// Install makes a version of the files in filesDir, which is Staging(sha) or a folder in it. Every file that m lists
// must be there with its size and digest; whatever else is in filesDir is deleted. When Install returns, the version
// has reached the disk and the rest of the download is gone; after an error the download is still there. A version
// that is installed and whole is returned as it is, with the description it has, and the download is discarded; a
// damaged one is replaced.
func (s *Store) Install(sha, filesDir string, m Meta) (*Version, error) {
	s.installing.Lock()
	defer s.installing.Unlock()
	if err := s.usable(sha); err != nil {
		return nil, err
	}
	v, err := s.install(sha, filesDir, m)
	if err != nil {
		return nil, fmt.Errorf("install model version %s: %w", sha, explain(err))
	}
	return v, nil
}

func (s *Store) install(sha, filesDir string, m Meta) (*Version, error) {
	if v, err := s.Version(sha); err == nil && s.Verify(sha) == nil {
		return v, s.DiscardStaging(sha)
	}
	if m.Installed.IsZero() {
		m.Installed = time.Now()
	}
	m.Installed = m.Installed.UTC().Round(0)
	if err := m.check(); err != nil {
		return nil, err
	}
	dir, err := s.stagingPath(sha, filesDir)
	if err != nil {
		return nil, err
	}
	s.writing.Lock()
	s.staged[sha] = struct{}{} // Collect must not take it away meanwhile
	s.writing.Unlock()
	if err := s.seal(sha, dir, m); err != nil {
		return nil, err
	}
	if err := s.publish(sha, dir); err != nil {
		return nil, err
	}
	return s.Version(sha)
}

// stagingPath turns filesDir into a path in the store and refuses one that is not in the version's own download.
func (s *Store) stagingPath(sha, filesDir string) (string, error) {
	own := path.Join(stagingDir, sha)
	rel, err := filepath.Rel(s.dir, filesDir)
	if err != nil || rel != own && !strings.HasPrefix(rel, own+"/") {
		return "", fmt.Errorf("%w: %s does not lie in %s", ErrInvalid, filesDir, filepath.Join(s.dir, own))
	}
	for at := rel; at != stagingDir; at = path.Dir(at) {
		info, err := s.root.Lstat(at)
		if err != nil {
			return "", err
		}
		if !info.IsDir() {
			return "", fmt.Errorf("%w: %s is not a directory", ErrInvalid, at)
		}
	}
	return rel, nil
}

// seal checks the files, syncs them, deletes everything else and writes version.json.
func (s *Store) seal(sha, dir string, m Meta) error {
	root, err := s.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	wanted := map[string]struct{}{".": {}}
	for _, f := range m.Files {
		if err := s.sealFile(root, f); err != nil {
			return err
		}
		for name := f.Name; name != "."; name = path.Dir(name) {
			wanted[name] = struct{}{}
		}
	}
	folders, err := s.prune(root, wanted)
	if err != nil {
		return err
	}
	data, err := encode(onDisk{Format: metaFormat, SHA256: sha, Meta: m})
	if err != nil {
		return err
	}
	if len(data) > maxMeta {
		return fmt.Errorf("%w: a description of %d bytes, at most %d are possible; shorten the file names", ErrInvalid, len(data), maxMeta)
	}
	if err := s.writeFile(root, metaName, "version", data); err != nil {
		return err
	}
	if err := s.step("version: sync directories"); err != nil {
		return err
	}
	for _, folder := range folders {
		if err := syncDir(root, folder); err != nil {
			return err
		}
	}
	return nil
}

// sealFile checks one file, closes it to others and syncs it.
func (s *Store) sealFile(root *os.Root, f File) error {
	if err := checkContents(root, f.Name, f); err != nil {
		return err
	}
	if err := s.step("install: sync file"); err != nil {
		return err
	}
	if err := root.Chmod(f.Name, fileMode); err != nil {
		return err
	}
	r, err := openRegular(root, f.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Sync()
}

// prune deletes what is not wanted and returns the folders that remain, the inner ones last.
func (s *Store) prune(root *os.Root, wanted map[string]struct{}) ([]string, error) {
	if err := s.step("install: delete what is not listed"); err != nil {
		return nil, err
	}
	var folders []string
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, ok := wanted[name]; !ok {
			if err := root.RemoveAll(name); err != nil {
				return err
			}
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			folders = append(folders, name)
			return root.Chmod(name, dirMode)
		}
		return nil
	})
	return folders, err
}

// publish moves a sealed directory to its place. From the rename on the version is installed.
func (s *Store) publish(sha, dir string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	// What is there now is damaged, or install would not have come here.
	if err := s.discard(versionsDir, sha); err != nil {
		return err
	}
	if err := s.step("install: rename"); err != nil {
		return err
	}
	if err := s.root.Rename(dir, path.Join(versionsDir, sha)); err != nil {
		return err
	}
	if err := s.step("install: sync versions"); err != nil {
		return err
	}
	if err := syncDir(s.root, versionsDir); err != nil {
		return err
	}
	delete(s.staged, sha)
	if err := syncDir(s.root, path.Dir(dir)); err != nil {
		return err
	}
	// The rest of the download; when dir was all of it there is nothing left.
	return s.discard(stagingDir, sha)
}
