package devcloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"gnomon/devcloud/internal/statefile"
	"gnomon/devcloud/objects"
	"gnomon/devcloud/provisioning"
	"gnomon/devcloud/shadows"
)

const endpointsFile = "endpoints.json"

// Endpoints is what a client in another process needs to use a running Cloud. Files are absolute paths.
type Endpoints struct {
	MQTT    string `json:"mqtt"`  // mqtts://127.0.0.1:8883
	HTTPS   string `json:"https"` // https://127.0.0.1:8443: shadows, credential provider, S3, ECR, Parameter Store
	Region  string `json:"region"`
	Account string `json:"account"`
	CAFile  string `json:"caFile"`
	// AdminFile is JSON with the accessKeyId and the secretAccessKey of the administrator, for HTTPS.
	AdminFile string `json:"adminFile"`
	// AdminCertFile and AdminKeyFile are for MQTT; client ids begin with AdminClientID.
	AdminCertFile string `json:"adminCertFile"`
	AdminKeyFile  string `json:"adminKeyFile"`
	AdminClientID string `json:"adminClientId"`
	ThingsDir     string `json:"thingsDir"` // with a directory for each thing
}

// Discover finds the Cloud that runs with a state directory. After a crash the file may be a leftover, and connecting
// fails.
func Discover(dir string) (Endpoints, error) {
	e := Endpoints{}
	path := filepath.Join(dir, endpointsFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return e, fmt.Errorf("no devcloud runs with the state in %s: start gnomon devcloud there: %w", dir, err)
	}
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil {
		return e, fmt.Errorf("read %s, which tells where devcloud runs; start gnomon devcloud again: %w", path, err)
	}
	return e, nil
}

func (c *Cloud) writeEndpoints() error {
	admin, err := c.AdminFiles()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(Endpoints{
		MQTT: c.MQTTURL(), HTTPS: c.HTTPSURL(), Region: c.opts.Region, Account: c.opts.Account, CAFile: c.CAFile(),
		AdminFile: c.keys.AdminFile(), AdminCertFile: admin.CertFile, AdminKeyFile: admin.KeyFile, AdminClientID: admin.Name,
		ThingsDir: filepath.Join(c.opts.Dir, "things"),
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := statefile.Write(filepath.Join(c.opts.Dir, endpointsFile), data); err != nil {
		return fmt.Errorf("say where devcloud runs: %w", err)
	}
	return nil
}

func (c *Cloud) removeEndpoints() {
	err := os.Remove(filepath.Join(c.opts.Dir, endpointsFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.opts.Log.Warn("endpoints.json was left behind; other commands will not find out that devcloud has stopped", zap.Error(err))
	}
}

// MQTTURL is where MQTT clients connect, with the port that was really bound: mqtts://127.0.0.1:8883.
func (c *Cloud) MQTTURL() string { return "mqtts://" + c.broker.Addr() }

// HTTPSURL is where everything else is: https://127.0.0.1:8443.
func (c *Cloud) HTTPSURL() string {
	return "https://" + c.socket.Addr().String()
}

// CAFile is the PEM file of the authority that signed the servers' certificate.
func (c *Cloud) CAFile() string { return c.pki.CAFile() }

// AdminCredentials is the access key that may do everything over HTTPS. It is made once and kept in admin.json.
func (c *Cloud) AdminCredentials() (accessKeyID, secret string) { return c.keys.Admin() }

// AdminFiles is the certificate that may do everything over MQTT that a client can, with client ids that begin with
// its Name.
func (c *Cloud) AdminFiles() (Thing, error) { return c.pki.AdminFiles() }

// AddThing makes a device's key and certificate below things/NAME in the state directory, or returns those that are
// there.
func (c *Cloud) AddThing(name string) (Thing, error) { return c.pki.AddThing(name) }

// RemoveThing deletes a device's files. Its certificate is refused from now on, and its connection is closed; its
// shadows, and AWS credentials that it has already, stay.
func (c *Cloud) RemoveThing(name string) error {
	if err := errors.Join(c.pki.RemoveThing(name), c.fleet.Remove(name)); err != nil {
		return err
	}
	c.broker.Disconnect(name)
	return nil
}

// Things lists the names of all things, those that were provisioned included.
func (c *Cloud) Things() ([]string, error) {
	names, err := c.pki.Things()
	for name := range c.fleet.Things() {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// AddClaim makes a claim certificate below claims/NAME in the state directory, for gnomon provision, or returns the one
// that is there.
func (c *Cloud) AddClaim(name string) (Thing, error) { return c.pki.AddClaim(name) }

// Provisioning is the fleet provisioning service.
func (c *Cloud) Provisioning() *provisioning.Service { return c.fleet }

// SetActive switches a certificate that was provisioned on or off, by its id. Off ends the thing's connection.
func (c *Cloud) SetActive(id string, on bool) error {
	if err := c.fleet.SetActive(id, on); err != nil {
		return err
	}
	if owner, ok := c.fleet.Owner(id); ok && !on {
		c.broker.Disconnect(owner.Thing)
	}
	return nil
}

// Objects is S3, ECR and Parameter Store, for seeding.
func (c *Cloud) Objects() *objects.Service { return c.objects }

// Shadows is the Device Shadow service.
func (c *Cloud) Shadows() *shadows.Service { return c.shadows }

// FailCredentials makes the credential provider answer every request with a status and a message, for tests of
// clients; status 0 ends that.
func (c *Cloud) FailCredentials(status int, message string) { c.provider.Fail(status, message) }
