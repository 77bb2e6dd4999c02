package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gnomon/devcloud"
	"gnomon/devcloud/objects"
)

const (
	thingName  = "soak"
	shadowName = "gnomon" // what the agent uses unless it is told otherwise
)

// deployment is a model that lies in the bucket.
type deployment struct{ name, uri, sha256 string }

// startCloud starts the AWS look-alike with one thing and the models.
func startCloud(ctx context.Context, dir string, models []string) (*devcloud.Cloud, devcloud.Thing, []deployment, <-chan error, error) {
	var thing devcloud.Thing
	c, err := devcloud.NewCloud(devcloud.CloudOptions{Dir: dir, MQTTAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0"})
	if err != nil {
		return nil, thing, nil, nil, err
	}
	if thing, err = c.AddThing(thingName); err != nil {
		return c, thing, nil, nil, err
	}
	var all []deployment
	for _, path := range models {
		d, err := upload(c, path)
		if err != nil {
			return c, thing, nil, nil, fmt.Errorf("put %s into the bucket: %w", path, err)
		}
		all = append(all, d)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return c, thing, all, ended, nil
}

// upload packs a model and its manifest, which has the same name and ends in .yaml.
func upload(c *devcloud.Cloud, path string) (deployment, error) {
	stem := strings.TrimSuffix(path, filepath.Ext(path))
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, file := range []string{path, stem + ".yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			return deployment{}, err
		}
		if err := w.WriteHeader(&tar.Header{Name: filepath.Base(file), Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0)}); err != nil {
			return deployment{}, err
		}
		if _, err := w.Write(data); err != nil {
			return deployment{}, err
		}
	}
	if err := w.Close(); err != nil {
		return deployment{}, err
	}
	sum := sha256.Sum256(packed.Bytes())
	d := deployment{name: filepath.Base(stem), sha256: hex.EncodeToString(sum[:])}
	key := d.name + "/" + d.sha256 + ".tar"
	d.uri = "s3://" + objects.ModelBucket + "/" + key
	return d, c.Objects().PutObject(objects.ModelBucket, key, &packed)
}

// deploy has the thing run a model.
func deploy(c *devcloud.Cloud, d deployment) error {
	doc, err := json.Marshal(map[string]any{"state": map[string]any{"desired": map[string]any{
		"models": map[string]any{"default": map[string]any{"uri": d.uri, "sha256": d.sha256}},
	}}})
	if err != nil {
		return err
	}
	if _, err := c.Shadows().Update(thingName, shadowName, doc); err != nil {
		return fmt.Errorf("deploy %s: %w", d.name, err)
	}
	return nil
}

// slotReport is what the soak wants to know of reported.models.
type slotReport struct {
	State  string `json:"state"`
	SHA256 string `json:"sha256"`
	Error  *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// reported is what the thing says of its slot; false: nothing yet.
func reported(c *devcloud.Cloud) (slotReport, bool) {
	data, err := c.Shadows().Get(thingName, shadowName)
	if err != nil {
		return slotReport{}, false
	}
	var doc struct {
		State struct {
			Reported struct {
				Models map[string]slotReport `json:"models"`
			} `json:"reported"`
		} `json:"state"`
	}
	if json.Unmarshal(data, &doc) != nil {
		return slotReport{}, false
	}
	r, ok := doc.State.Reported.Models["default"]
	return r, ok
}
