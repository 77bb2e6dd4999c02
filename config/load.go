package config

import (
	_ "embed" // for the default file
	"path/filepath"
	"slices"

	"gnomon/config/yamldoc"
)

//go:embed default.yaml
var defaultYAML []byte

// DefaultYAML is a copy of the default configuration as a file with comments: every key, what it does and its default.
func DefaultYAML() []byte { return slices.Clone(defaultYAML) }

// Load reads and checks the file at path. Relative paths in it are made relative to the folder that the file is in, so
// that they mean the same wherever the program is started.
//
// What is wrong in the file is a *yamldoc.Error; a file that cannot be read wraps the cause (fs.ErrNotExist).
func Load(path string) (*Config, error) {
	c, _, err := LoadDocument(path)
	return c, err
}

// Parse reads and checks a configuration; name is what errors call the file. Paths stay as they are written. The error
// is a *yamldoc.Error with everything that is wrong.
func Parse(name string, data []byte) (*Config, error) {
	c := Default()
	doc, err := yamldoc.Decode(name, data, &c)
	if err != nil {
		return nil, err
	}
	if err := doc.Locate(c.check()); err != nil {
		return nil, err
	}
	return &c, nil
}

// rebase makes relative paths relative to dir.
func (c *Config) rebase(dir string) {
	paths := []*string{&c.Model.Manifest, &c.Engine.Library, &c.Engine.TensorRT.CacheDir, &c.MQTT.PasswordFile, &c.MQTT.CAFile, &c.MQTT.CertFile, &c.MQTT.KeyFile, &c.Models.Dir, &c.Models.RegistryCredentials, &c.AWS.CAFile}
	for i := range c.Models.TrustedKeys {
		paths = append(paths, &c.Models.TrustedKeys[i])
	}
	for i := range c.Engine.Plugins {
		paths = append(paths, &c.Engine.Plugins[i])
	}
	for i := range c.Telemetry.Logs.Files {
		paths = append(paths, &c.Telemetry.Logs.Files[i])
	}
	if c.Telemetry.Spool.Dir != SpoolMemory {
		paths = append(paths, &c.Telemetry.Spool.Dir)
	}
	if c.Model.Path != ModelDefault {
		paths = append(paths, &c.Model.Path)
	}
	for _, p := range paths {
		*p = rebased(dir, *p)
	}
	for name, s := range c.Sources {
		if s.Kind() == KindFile {
			s.URI = rebased(dir, s.URI)
			c.Sources[name] = s
		}
	}
}

func rebased(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
