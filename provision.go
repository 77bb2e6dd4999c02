package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cloud/hardware"
	"gnomon/cloud/keypair"
	"gnomon/cloud/link"
	"gnomon/cloud/provision"
	"gnomon/config"
)

// provisionTimeout is long enough for a cloud that is away for some minutes while a factory line goes on.
const provisionTimeout = 15 * time.Minute

// provisionFlags are those of gnomon provision.
type provisionFlags struct {
	endpoint, claimCert, claimKey, ca, template, dir, config string
	parameters, settings                                     map[string]string
	timeout                                                  time.Duration
	force                                                    bool
}

func provisionCommand() *cobra.Command {
	var f provisionFlags
	c := &cobra.Command{
		Use:   "provision --endpoint HOST --claim-cert FILE --claim-key FILE --template NAME",
		Short: "Get this device its own certificate from AWS IoT, with a claim certificate",
		Long: "Fleet provisioning by claim: make a private key, which never leaves this device, have AWS IoT make a certificate for\n" +
			"it, become a thing by a provisioning template, and write a configuration. The serial number and the model of this\n" +
			"machine are sent as the parameters SerialNumber and Model. It may be stopped at any time: run again, it goes on. On a\n" +
			"device that has an identity already it changes nothing.",
		Example: "  gnomon provision --endpoint example-ats.iot.eu-central-1.amazonaws.com \\\n" +
			"    --claim-cert claim.pem --claim-key claim.key --template gnomon-fleet",
		Args: exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
			defer cancel()
			return f.run(ctx, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&f.endpoint, "endpoint", "", "AWS IoT's data endpoint: what aws iot describe-endpoint --endpoint-type iot:Data-ATS prints")
	c.Flags().StringVar(&f.claimCert, "claim-cert", "", "the claim certificate in PEM")
	c.Flags().StringVar(&f.claimKey, "claim-key", "", "its private key in PEM")
	c.Flags().StringVar(&f.ca, "ca", "", "PEM file with the authority of AWS IoT's certificate (default: the system's)")
	c.Flags().StringVar(&f.template, "template", "", "the provisioning template")
	c.Flags().StringToStringVar(&f.parameters, "parameter", nil, "a parameter of the template, NAME=VALUE; may be given several times")
	c.Flags().StringToStringVar(&f.settings, "setting", nil, "a setting for the configuration, such as aws.role_alias=NAME; may be given several times")
	c.Flags().StringVar(&f.dir, "dir", "", "where key and certificate are kept (default: identity in gnomon's state folder)")
	c.Flags().StringVar(&f.config, "config", "", "the configuration to write (default: gnomon.yaml beside the key)")
	c.Flags().DurationVar(&f.timeout, "timeout", provisionTimeout, "give up after this time")
	c.Flags().BoolVar(&f.force, "force", false, "get another identity although there is one")
	return c
}

// check looks at the flags and fills in what may be left out.
func (f *provisionFlags) check() error {
	for name, v := range map[string]string{
		"endpoint": f.endpoint, "claim-cert": f.claimCert, "claim-key": f.claimKey, "template": f.template,
	} {
		if v == "" {
			return usage("--%s is missing; see gnomon provision --help", name)
		}
	}
	if f.timeout <= 0 {
		return usage("--timeout must be above 0")
	}
	if _, _, err := link.Address(f.endpoint); err != nil {
		return &usageError{err}
	}
	for name := range f.settings {
		if !slices.Contains(provisionSettings(), name) {
			return usage("--setting %s is not one that can be set here; these can: %s", name, strings.Join(provisionSettings(), ", "))
		}
	}
	if f.dir == "" {
		dir, err := userStateDir("identity")
		if err != nil {
			return usage("%w; name one with --dir", err)
		}
		f.dir = dir
	}
	for _, path := range []*string{&f.dir, &f.ca, &f.config} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path) // paths in the configuration must be good for a service
		if err != nil {
			return err
		}
		*path = absolute
	}
	if f.config == "" {
		f.config = filepath.Join(f.dir, "gnomon.yaml")
	}
	return nil
}

// provisionSettings are the settings that a template's DeviceConfiguration and --setting may give.
func provisionSettings() []string {
	return []string{
		"aws.credentials_endpoint", "aws.endpoint_url", "aws.parameters.path", "aws.region", "aws.role_alias", "aws.rotation_template",
		"mqtt.topic_prefix", "shadow.name",
		"telemetry.basic_ingest.detections", "telemetry.basic_ingest.events", "telemetry.basic_ingest.logs",
		"telemetry.basic_ingest.metrics", "telemetry.metrics.cloudwatch_namespace",
	}
}

func (f *provisionFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := f.check(); err != nil {
		return err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(stderr, format+"\n", args...) }
	serial, err := f.readHardware(say)
	if err != nil {
		return err
	}
	result, err := provision.Run(ctx, provision.Options{
		Dir: f.dir, Endpoint: f.endpoint, Template: f.template, Parameters: f.parameters, Force: f.force, Say: say,
		Claim: func(ctx context.Context, use func(context.Context, provision.Conn) error) error {
			return f.claim(ctx, "gnomon-provision-"+serial, use)
		},
		Check: func(ctx context.Context, thing string, files keypair.Files) error {
			return tryPair(ctx, f.endpoint, f.ca, thing, files)
		},
	})
	if err != nil {
		return err
	}
	written, err := f.writeConfig(result, say)
	if err != nil {
		return err
	}
	state, does := "is now", "was written"
	if result.Already {
		state = "is already"
	}
	if !written {
		does = "is right as it is"
	}
	_, err = fmt.Fprintf(stdout, "this device %s the thing %s, and its certificate works\n%s %s: gnomon run --config %s\n",
		state, result.Thing, f.config, does, f.config)
	return err
}

// readHardware fills in the parameters that the machine can say itself.
func (f *provisionFlags) readHardware(say func(string, ...any)) (serial string, err error) {
	given := f.parameters
	f.parameters = map[string]string{}
	maps.Copy(f.parameters, given)
	machine, err := hardware.Read(os.DirFS("/"))
	if f.parameters["SerialNumber"] == "" {
		if err != nil {
			return "", err
		}
		f.parameters["SerialNumber"] = machine.SerialNumber
		say("serial number %s, from %s", machine.SerialNumber, machine.Origin)
		if machine.Note != "" {
			say("%s", machine.Note)
		}
	}
	if f.parameters["Model"] == "" && machine.Model != "" {
		f.parameters["Model"] = machine.Model
	}
	return f.parameters["SerialNumber"], nil
}

// claim connects with the claim certificate.
func (f *provisionFlags) claim(ctx context.Context, id string, use func(context.Context, provision.Conn) error) error {
	const maxClientID = 128 // AWS IoT's
	c, err := link.Dial(ctx, link.Options{
		Broker: f.endpoint, ClientID: strings.ToValidUTF8(id[:min(len(id), maxClientID)], ""), CAFile: f.ca,
		Files: keypair.Files{CertFile: f.claimCert, KeyFile: f.claimKey},
	})
	if err != nil {
		return fmt.Errorf("with the claim certificate: %w", err)
	}
	defer c.Close()
	return use(ctx, c)
}

// tryPair connects as a thing with a pair, and makes sure that its policy lets it at its shadow. It throws out another
// connection of the thing. The error is a *link.Error, unless the files are at fault.
func tryPair(ctx context.Context, broker, ca, thing string, files keypair.Files) error {
	c, err := link.Dial(ctx, link.Options{Broker: broker, ClientID: thing, CAFile: ca, Files: files})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Subscribe(ctx, []string{"$aws/things/" + thing + "/shadow/get/accepted"}, func(string, []byte) {})
}

// writeConfig writes the configuration; false: one that says the same is there.
func (f *provisionFlags) writeConfig(r *provision.Result, say func(string, ...any)) (written bool, err error) {
	host, ports, err := link.Address(f.endpoint)
	if err != nil {
		return false, err
	}
	settings := map[string]any{
		"device.thing": r.Thing, "mqtt.broker": "mqtts://" + net.JoinHostPort(host, ports[0]),
		"mqtt.cert_file": r.Files.CertFile, "mqtt.key_file": r.Files.KeyFile, "shadow.enabled": true,
	}
	if f.ca != "" {
		settings["mqtt.ca_file"], settings["aws.ca_file"] = f.ca, f.ca
	}
	if part := strings.Split(host, "."); len(part) > 4 && part[1] == "iot" { // ID-ats.iot.REGION.amazonaws.com
		settings["aws.region"] = part[2]
	}
	for _, from := range []map[string]string{r.Configuration, f.settings} {
		for name, v := range from {
			if !slices.Contains(provisionSettings(), name) {
				say("the template's DeviceConfiguration has %q, which is no setting that it can give; it is left out", name)
				continue
			}
			settings[name] = v
		}
	}
	text, err := provision.Config(settings)
	if err != nil {
		return false, err
	}
	err = provision.WriteConfig(f.config, text, func(path string) error {
		_, err := config.Load(path)
		return err
	})
	switch {
	case err == nil:
		return true, nil
	case !errors.Is(err, provision.ErrExists):
		return false, err
	case f.sameIdentity(settings):
		return false, nil
	}
	return false, fmt.Errorf("this device is the thing %s and its certificate works, but the configuration %s is there already and "+
		"stays as it is; put these settings into it, or name another file with --config:\n%s", r.Thing, f.config, text)
}

// sameIdentity reports whether the configuration that is there says who this device is.
func (f *provisionFlags) sameIdentity(settings map[string]any) bool {
	c, err := config.Load(f.config)
	return err == nil && c.Device.Thing == settings["device.thing"] && c.MQTT.Broker == settings["mqtt.broker"] &&
		c.MQTT.CertFile == settings["mqtt.cert_file"] && c.MQTT.KeyFile == settings["mqtt.key_file"] && c.MQTT.CAFile == f.ca
}
