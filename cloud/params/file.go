package params

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.uber.org/zap"
)

// maxFile bounds the file of the last values, in bytes: some three times what 256 settings take.
const maxFile = 1 << 20

// kept is the file of the last values.
type kept struct {
	Path       string      `json:"path"`
	Parameters []Parameter `json:"parameters"`
}

// resume hands on the values of the file. Without a good one there are none until the service answers.
func (p *Poller) resume() {
	if p.o.File == "" {
		return
	}
	values, err := load(p.o.File, p.o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		p.log.Warn("the last parameters are lost; they are fetched again", zap.Error(err))
	default:
		p.take(values, false)
	}
}

// load reads the file; of another path it is as good as none.
func load(file, path string) ([]Parameter, error) {
	info, err := os.Lstat(file) // opening a named pipe would wait for a writer
	if err != nil {
		return nil, fmt.Errorf("read the last parameters: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read the last parameters: %s is no regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the last parameters: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the last parameters: %w", err)
	}
	var k kept
	if len(data) > maxFile || json.Unmarshal(data, &k) != nil || len(k.Parameters) > maxParameters {
		return nil, fmt.Errorf("%s is damaged", file) // what a parser says about it may repeat a value
	}
	if k.Path != path {
		return nil, fmt.Errorf("the last parameters are those of %.80q: %w", k.Path, fs.ErrNotExist)
	}
	for _, one := range k.Parameters {
		if one.check(path) != nil {
			return nil, fmt.Errorf("%s is damaged", file)
		}
	}
	return k.Parameters, nil
}

// save replaces the file in one step: after a crash it is the old one or the new one, and either will do.
func (p *Poller) save() error {
	data, err := json.Marshal(kept{p.o.Path, p.values})
	if err != nil {
		return fmt.Errorf("keep the parameters: %w", err)
	}
	if len(data) > maxFile {
		return fmt.Errorf("keep the parameters: they have %d bytes, more than the %d that are kept; shorten them", len(data), maxFile)
	}
	f, err := os.CreateTemp(filepath.Dir(p.o.File), ".parameters-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the parameters: %w", err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone already after the rename
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keep the parameters: %w", err)
	}
	if err := os.Rename(f.Name(), p.o.File); err != nil {
		return fmt.Errorf("keep the parameters: %w", err)
	}
	return nil
}
