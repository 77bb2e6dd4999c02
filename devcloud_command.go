package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"gnomon/config"
	"gnomon/devcloud"
)

// demoThing is the device that devcloud makes unless it is told otherwise.
const demoThing = "demo"

// cloudFlags are what every devcloud command takes.
type cloudFlags struct{ dir, thing string }

func (f *cloudFlags) register(c *cobra.Command) {
	c.PersistentFlags().StringVar(&f.dir, "dir", "", "where the state is kept (default: ~/.local/state/gnomon/devcloud)")
	c.PersistentFlags().StringVar(&f.thing, "thing", demoThing, "the device, as AWS IoT calls it")
}

// path is the state directory.
func (f *cloudFlags) path() (string, error) {
	if f.dir != "" {
		return filepath.Abs(f.dir)
	}
	dir, err := userStateDir("devcloud")
	if err != nil {
		return "", usage("%w; name one with --dir", err)
	}
	return dir, nil
}

func devcloudCommand() *cobra.Command {
	var f cloudFlags
	o := devcloud.CloudOptions{}
	c := &cobra.Command{
		Use:   "devcloud",
		Short: "Run the AWS side of gnomon on this machine, to try deployments without an account",
		Long: "Start on loopback, with certificates of its own: an MQTT broker with AWS IoT's rules and limits, Device Shadows, the\n" +
			"credential provider, S3, ECR with its registry, and Parameter Store. It makes one device and a configuration for it,\n" +
			"and prints what to do next. For development only. Its state survives; delete the directory to begin anew.",
		Example: "  gnomon devcloud\n  gnomon devcloud push-model yolo11n.onnx\n  gnomon devcloud watch",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			dir, err := f.path()
			if err != nil {
				return err
			}
			o.Dir = dir
			return runDevcloud(c, o, &f)
		},
	}
	f.register(c)
	c.Flags().StringVar(&o.MQTTAddr, "mqtt", "127.0.0.1:8883", "where to listen for MQTT; port 0 is a free one")
	c.Flags().StringVar(&o.HTTPSAddr, "https", "127.0.0.1:8443", "where to listen for everything else")
	c.AddCommand(pushCommand(&f), deployCommand(&f), watchCommand(&f))
	return c
}

func runDevcloud(c *cobra.Command, o devcloud.CloudOptions, f *cloudFlags) (err error) {
	log, err := newLogger(config.Log{Level: config.LevelWarn}, os.Stderr)
	if err != nil {
		return err
	}
	o.Log = log
	cloud, err := devcloud.NewCloud(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Close()) }()
	files, err := cloud.AddThing(f.thing)
	if err != nil {
		return err
	}
	path, err := deviceConfig(files, cloud)
	if err != nil {
		return err
	}
	introduce(c.OutOrStdout(), f, o.Dir, path, cloud)
	return cloud.Run(c.Context())
}

// deviceConfig writes a configuration for a device beside its certificate. One that is there and was changed stays.
func deviceConfig(t devcloud.Thing, cloud *devcloud.Cloud) (string, error) {
	path := filepath.Join(t.Dir, "gnomon.yaml")
	host := strings.TrimPrefix(cloud.HTTPSURL(), "https://")
	text := fmt.Sprintf(`# Made by gnomon devcloud for the device %[1]s. Delete the first line to keep your changes.
device: {thing: %[1]q}
sources:
  sample: {uri: sample, loop: true}
mqtt: {broker: %[2]q, ca_file: %[3]q, cert_file: %[4]q, key_file: %[5]q}
shadow: {enabled: true}
models: {dir: models, probation: 10s, private_addresses: true}
aws: {region: eu-central-1, endpoint_url: %[6]q, credentials_endpoint: %[7]q, role_alias: %[8]q, ca_file: %[3]q, ecr_registries: [%[7]q], parameters: {path: /gnomon/fleet, every: 30s}, rotation_template: %[9]q}
`, t.Name, cloud.MQTTURL(), t.CAFile, t.CertFile, t.KeyFile, cloud.HTTPSURL(), host, devcloud.DefaultRoleAlias, devcloud.RotationTemplate)
	if old, err := os.ReadFile(path); err == nil && !strings.HasPrefix(string(old), "# Made by gnomon devcloud") {
		return path, nil
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write a configuration for the device: %w", err)
	}
	return path, nil
}

// introduce prints where everything is and what to do next, in commands that can be used as they are.
func introduce(out io.Writer, f *cloudFlags, dir, path string, cloud *devcloud.Cloud) {
	flags := ""
	if f.dir != "" {
		flags += " --dir " + dir
	}
	if f.thing != demoThing {
		flags += " --thing " + f.thing
	}
	t := newTable(out)
	t.AppendHeader(table.Row{"devcloud", dir})
	t.AppendRows([]table.Row{
		{"MQTT with certificates", cloud.MQTTURL()},
		{"shadows, credentials, S3, ECR, parameters", cloud.HTTPSURL()},
		{"authority", cloud.CAFile()},
		{"an agent", "gnomon run --config " + path},
		{"a second model", "gnomon devcloud push-model default --version 2 --release 2" + flags},
		{"deploy it", "gnomon devcloud deploy default REFERENCE" + flags},
		{"see what happens", "gnomon devcloud watch" + flags},
	})
	t.Render()
}
