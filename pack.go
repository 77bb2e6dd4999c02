package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/config"
	"gnomon/models"
	"gnomon/third_party/embedded"
)

// packOptions say what goes into the archive of a model version.
type packOptions struct {
	model, manifest string
	golden          string // folder with golden.json and its pictures; may be empty
	version         string // replaces the manifest's
	release         int64  // replaces the manifest's
}

func (o *packOptions) register(c *cobra.Command) {
	c.Flags().StringVar(&o.manifest, "manifest", "", "manifest of the model (default: the .yaml beside it)")
	c.Flags().StringVar(&o.golden, "golden", "", "folder with golden.json and its pictures, to go with the model")
	c.Flags().StringVar(&o.version, "version", "", "version of the model (default: what the manifest says)")
	c.Flags().Int64Var(&o.release, "release", 0, "release number of the model, which counts up (default: what the manifest says)")
}

// pack is the archive of a model version.
type pack struct {
	Name, SHA256, Version string
	Release               int64
	Tar                   []byte
}

func packCommand() *cobra.Command {
	var o packOptions
	var out string
	c := &cobra.Command{
		Use:   "pack MODEL",
		Short: "Put a model, its manifest and what belongs to it into one archive, ready to be deployed",
		Long: "Write a tar archive with the model, its manifest, labels, weights in other files, and golden pictures: one version, one\n" +
			"digest. Prints the archive's name and its sha256, which a deployment names. The same files give the same archive.",
		Example: "  gnomon models pack street.onnx --release 7 --output street-7.tar\n  aws s3 cp street-7.tar s3://bucket/street-7.tar",
		Args:    exactly(1, "one model file"),
		RunE: func(c *cobra.Command, args []string) error {
			o.model = args[0]
			p, err := packModel(o)
			if err != nil {
				return err
			}
			if out == "" {
				out = p.Name + ".tar"
			}
			if err := os.WriteFile(out, p.Tar, 0o644); err != nil { //nolint:gosec // an archive to hand on
				return fmt.Errorf("write the archive: %w", err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s\nsha256 %s\n", out, p.SHA256)
			return err
		},
	}
	o.register(c)
	c.Flags().StringVarP(&out, "output", "o", "", "the archive to write (default: the model's name and .tar)")
	return c
}

// packedFile is one file of an archive.
type packedFile struct {
	name string
	data []byte
}

// packModel reads a model as the agent will and makes its archive.
func packModel(o packOptions) (*pack, error) {
	if o.release < 0 {
		return nil, usage("--release must not be negative")
	}
	files, name, err := packFiles(o)
	if err != nil {
		return nil, err
	}
	p := &pack{Name: name}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack the model: %w", err)
	}
	p.Tar = buf.Bytes()
	sum := sha256.Sum256(p.Tar)
	p.SHA256 = hex.EncodeToString(sum[:])
	m, err := models.ParseManifest(files[1].name, files[1].data)
	if err != nil {
		return nil, err
	}
	p.Version = m.Version
	if m.Release != nil {
		p.Release = *m.Release
	}
	return p, nil
}

// packFiles collects the files: the model first, its manifest second.
func packFiles(o packOptions) (files []packedFile, name string, err error) {
	if o.model == config.ModelDefault {
		if o.manifest != "" || o.golden != "" {
			return nil, "", usage("the model inside the binary brings its own manifest and has no golden pictures; name a model file to add them")
		}
		onnx, manifest, err := embedded.Model()
		if err != nil {
			return nil, "", err
		}
		if manifest, err = restamp(manifest, o); err != nil {
			return nil, "", err
		}
		return []packedFile{{"nanodet-g.onnx", onnx}, {"nanodet-g.yaml", manifest}}, "nanodet-g", nil
	}
	m, err := readModel(o.model, o.manifest) // what the agent would refuse is refused here
	if err != nil {
		return nil, "", err
	}
	base := filepath.Base(o.model)
	name = strings.TrimSuffix(base, filepath.Ext(base))
	data, err := os.ReadFile(o.model) // as it lies on the disk, and not with weights put inside
	if err != nil {
		return nil, "", fmt.Errorf("read the model: %w", err)
	}
	path := o.manifest
	if path == "" {
		path = strings.TrimSuffix(o.model, filepath.Ext(o.model)) + ".yaml"
	}
	manifest, err := os.ReadFile(path)
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && o.manifest == "") {
		return nil, "", fmt.Errorf("read the manifest: %w", err)
	}
	if manifest, err = restamp(manifest, o); err != nil {
		return nil, "", err
	}
	files = []packedFile{{base, data}, {name + ".yaml", manifest}}
	if m.Manifest != nil {
		beside := m.Manifest.ExternalData
		if m.Manifest.LabelsFile != "" {
			beside = append(beside, m.Manifest.LabelsFile)
		}
		for _, f := range beside {
			data, err := os.ReadFile(filepath.Join(filepath.Dir(o.model), filepath.FromSlash(f)))
			if err != nil {
				return nil, "", fmt.Errorf("read what the manifest names: %w", err)
			}
			files = append(files, packedFile{f, data})
		}
	}
	if o.golden != "" {
		golden, err := packGolden(o.golden)
		if err != nil {
			return nil, "", err
		}
		files = append(files, golden...)
	}
	return files, name, nil
}

// packGolden takes every file of a folder, which becomes golden/ in the archive.
func packGolden(dir string) ([]packedFile, error) {
	var files []packedFile
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		files = append(files, packedFile{path.Join("golden", filepath.ToSlash(rel)), data})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the golden pictures: %w", err)
	}
	return files, nil
}

// restamp writes version and release into a manifest, in place of those that it has; the rest stays as people wrote it.
func restamp(manifest []byte, o packOptions) ([]byte, error) {
	set := func(key, value string) {
		old := regexp.MustCompile(`(?m)^` + key + `:.*\n?([ \t]+.*\n?)*`) // and the lines that continue it
		manifest = append(bytes.TrimRight(old.ReplaceAll(manifest, nil), "\n"), []byte("\n"+key+": "+value+"\n")...)
	}
	if o.version != "" {
		set("version", strconv.Quote(o.version))
	}
	if o.release != 0 {
		set("release", strconv.FormatInt(o.release, 10))
	}
	return bytes.TrimLeft(manifest, "\n"), nil
}
