package config

import (
	"fmt"
	"path/filepath"

	"gnomon/config/yamldoc"
)

// LoadDocument is Load for callers who have to say where a value stands: it returns the file's positions as well.
func LoadDocument(path string) (*Config, *yamldoc.Document, error) {
	data, err := yamldoc.ReadFile(yamldoc.AnyFolder{}, path)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	c := Default()
	doc, err := yamldoc.Decode(path, data, &c)
	if err != nil {
		return nil, nil, err
	}
	if err := doc.Locate(c.check()); err != nil {
		return nil, nil, err
	}
	c.rebase(filepath.Dir(path))
	return &c, doc, nil
}
