package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"gnomon/config/yamldoc"
)

// Shadow is the section shadow.
type Shadow struct {
	Enabled bool   `yaml:"enabled" jsonschema_description:"True: this device's AWS IoT Device Shadow says which models run and how the sources are set, and is told what became of it."`
	Name    string `yaml:"name" jsonschema_description:"The named shadow to use. Empty: the thing's classic, unnamed one."`
}

// Models is the section models: where deployed models come from, whom they are taken from and how a new one is watched.
type Models struct {
	Dir                 string   `yaml:"dir" jsonschema_description:"The folder in which deployed models and their state are kept, used by one agent at a time. Empty: models in systemd's StateDirectory, /var/lib/gnomon/models for root, ~/.local/state/gnomon/models for others."`
	MaxSize             Size     `yaml:"max_size" jsonschema_description:"How much the models that are kept may take together; models in use stay in any case."`
	Allow               []string `yaml:"allow" jsonschema_description:"References that models may come from, such as s3://bucket/* or oci://registry/team/*; the * stands at the end. Empty: any but files."`
	TrustedKeys         []string `yaml:"trusted_keys" jsonschema_description:"Files with public keys in PEM, ECDSA P-256 or Ed25519. With any set, every model needs a signature made with one of them."`
	PrivateAddresses    bool     `yaml:"private_addresses" jsonschema_description:"True: https references may lead to private, loopback and link-local addresses."`
	RegistryCredentials string   `yaml:"registry_credentials" jsonschema_description:"A Docker credential file for registries other than ECR. Empty: none."`
	DownloadSize        Size     `yaml:"download_size" jsonschema_description:"The largest download."`
	DownloadRate        Size     `yaml:"download_rate" jsonschema_description:"The fastest download, a second. 0: as fast as it comes."`
	DownloadTimeout     Duration `yaml:"download_timeout" jsonschema_description:"The longest download: 1m to 7 days (168h)."`
	ProbeTimeout        Duration `yaml:"probe_timeout" jsonschema_description:"How long the trial of a new model in a process of its own may take: 5s to 1h."`
	ProbeMemory         Size     `yaml:"probe_memory" jsonschema_description:"How much memory that process may take. 0: four fifths of what is available then."`
	Probation           Duration `yaml:"probation" jsonschema_description:"How long a new model is watched before it counts as good: 1s to 24h."`
	MaxSlowdown         float64  `yaml:"max_slowdown" jsonschema_description:"A new model whose runs take longer than this many times the old one's is rolled back. 0: any speed is good."`
	MinDetections       float64  `yaml:"min_detections" jsonschema_description:"A new model that finds less than this share of what the old one found is rolled back, 0 to below 1. 0: anything is good."`
}

// AWS is the section aws.
type AWS struct {
	Region              string     `yaml:"region" jsonschema_description:"The region of buckets and registries, such as eu-central-1."`
	CredentialsEndpoint string     `yaml:"credentials_endpoint" jsonschema_description:"The host of the account's IoT credential provider, as aws iot describe-endpoint --endpoint-type iot:CredentialProvider prints it. The device's certificate is mqtt.cert_file."`
	RoleAlias           string     `yaml:"role_alias" jsonschema_description:"The role alias whose role this device takes."`
	CAFile              string     `yaml:"ca_file" jsonschema_description:"A PEM file with authorities to trust beside the system's for downloads and AWS calls. Empty: none."`
	EndpointURL         string     `yaml:"endpoint_url" jsonschema_description:"Another place for all AWS services, such as https://127.0.0.1:8443 for gnomon devcloud. Empty: AWS."`
	Parameters          Parameters `yaml:"parameters" jsonschema_description:"Settings of the whole fleet, from Parameter Store."`
	RotationTemplate    string     `yaml:"rotation_template" jsonschema_description:"The provisioning template with which this device orders a new certificate for itself when the shadow says so. Empty: its certificate is not exchanged."`
	ECRRegistries       []string   `yaml:"ecr_registries" jsonschema_description:"Registries (host or host:port) that take ECR's token although their names are not ECR's."`
}

// DefaultSlot is where a source's model runs unless it says otherwise.
const DefaultSlot = "default"

// Limits of the sections above.
const (
	// maxList is the largest number of patterns, keys or registries: far more than a fleet has.
	maxList = 64
	// minDownload is the least models.download_size: the smallest detectors have some 200 KB.
	minDownload = megabyte
	// minProbeMemory is the least models.probe_memory: with less no model can be loaded, and all would be banned.
	minProbeMemory     = 64 * megabyte
	minDownloadTimeout = time.Minute
	maxDownloadTimeout = 7 * 24 * time.Hour
	minProbeTimeout    = 5 * time.Second
	maxProbeTimeout    = time.Hour
	minProbation       = time.Second
	maxProbation       = 24 * time.Hour
	// maxSlowdown is the largest models.max_slowdown: beyond it the check is better switched off with 0.
	maxSlowdown = 1000
)

// The forms of names in AWS and of slots.
const (
	shadowNamePattern = `^[A-Za-z0-9:_-]{0,64}$`
	awsThingPattern   = `^[A-Za-z0-9:_-]{1,128}$`
	regionPattern     = `^([a-z]{2}(-[a-z]+)+-[0-9])?$`
	aliasPattern      = `^[A-Za-z0-9_=,@-]{0,128}$`
	slotPattern       = `^[a-z0-9_-]{1,64}$`
	templatePattern   = `^[A-Za-z0-9_-]{0,36}$`
	hostPattern       = `^[A-Za-z0-9.-]+(:[0-9]{1,5})?$`
)

// SlotName is the slot that the source's model runs in.
func (s *Source) SlotName() string {
	if s.Slot == "" {
		return DefaultSlot
	}
	return s.Slot
}

// Slots are the slots that are needed, sorted: those of the enabled sources, and with a shadow, which may enable the
// others, of all.
func (c *Config) Slots() []string {
	names := map[string]struct{}{}
	for _, s := range c.Sources {
		if s.Enabled || c.Shadow.Enabled {
			names[s.SlotName()] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (c *Config) checkCloud(p *yamldoc.Problems) {
	c.Shadow.check(p, c)
	c.Models.check(p)
	c.AWS.check(p, &c.MQTT)
	c.Telemetry.check(p)
}

func (s *Shadow) check(p *yamldoc.Problems, c *Config) {
	if !matches(shadowNamePattern, s.Name) {
		p.Addf("shadow.name", "must be at most 64 letters, digits and : _ -, not %s", shown(s.Name))
	}
	if !s.Enabled {
		if c.AWS.RotationTemplate != "" {
			p.Addf("aws.rotation_template", "is ordered with through the shadow; set shadow.enabled")
		}
		return
	}
	if c.MQTT.Broker == BrokerEmbedded {
		p.Addf("shadow.enabled", "needs AWS IoT's broker, or that of gnomon devcloud; set mqtt.broker")
	}
	if t := c.Device.Thing; t != "" && !matches(awsThingPattern, t) {
		p.Addf("device.thing", "must be letters, digits and : _ - for AWS IoT, as shadow.enabled is set: %s", shown(t))
	}
}

func (m *Models) check(p *yamldoc.Problems) {
	checkPath(p, "models.dir", m.Dir)
	checkPath(p, "models.registry_credentials", m.RegistryCredentials)
	checkList(p, "models.allow", m.Allow)
	checkList(p, "models.trusted_keys", m.TrustedKeys)
	for i, pattern := range m.Allow {
		scheme, rest, ok := strings.Cut(pattern, "://")
		if !ok || !slices.Contains([]string{"s3", "oci", "https", "file"}, scheme) || rest == "" || rest == "*" {
			p.Addf(yamldoc.Index("models.allow", i), "must begin with s3://BUCKET/, oci://REGISTRY/, https://HOST/ or file:///, not %s", shown(pattern))
		}
	}
	if m.DownloadSize < minDownload {
		p.Addf("models.download_size", "must be at least %v, not %v", Size(minDownload), m.DownloadSize)
	}
	checkDuration(p, "models.download_timeout", m.DownloadTimeout, minDownloadTimeout, maxDownloadTimeout)
	checkDuration(p, "models.probe_timeout", m.ProbeTimeout, minProbeTimeout, maxProbeTimeout)
	checkDuration(p, "models.probation", m.Probation, minProbation, maxProbation)
	if v := m.MaxSlowdown; v != 0 && !(v >= 1 && v <= maxSlowdown) {
		p.Addf("models.max_slowdown", "must be from 1 to %d, or 0 to switch the check off, not %v", maxSlowdown, v)
	}
	if v := m.MinDetections; !(v >= 0 && v < 1) {
		p.Addf("models.min_detections", "must be at least 0 and below 1, not %v", v)
	}
	if v := m.ProbeMemory; v != 0 && v < minProbeMemory {
		p.Addf("models.probe_memory", "must be at least %v, not %v; 0 fits the machine", Size(minProbeMemory), v)
	}
}

func (a *AWS) check(p *yamldoc.Problems, m *MQTT) {
	checkPath(p, "aws.ca_file", a.CAFile)
	if !matches(regionPattern, a.Region) {
		p.Addf("aws.region", "is no region: %s; write one such as eu-central-1", shown(a.Region))
	}
	if !matches(aliasPattern, a.RoleAlias) {
		p.Addf("aws.role_alias", "must be at most 128 letters, digits and _ = , @ -, not %s", shown(a.RoleAlias))
	}
	if a.CredentialsEndpoint != "" && !matches(hostPattern, strings.TrimPrefix(a.CredentialsEndpoint, "https://")) {
		p.Addf("aws.credentials_endpoint", "must be a host such as c2example.credentials.iot.eu-central-1.amazonaws.com, not %s", shown(a.CredentialsEndpoint))
	}
	switch {
	case (a.CredentialsEndpoint == "") != (a.RoleAlias == ""):
		set, missing := "aws.credentials_endpoint", "aws.role_alias"
		if a.CredentialsEndpoint == "" {
			set, missing = missing, set
		}
		p.Addf(set, "is set but %s is not; write both or neither", missing)
	case a.RoleAlias != "" && a.Region == "":
		p.Addf("aws.role_alias", "needs a region; set aws.region")
	case a.RotationTemplate != "" && m.CertFile == "":
		p.Addf("aws.rotation_template", "needs the device's certificate; set mqtt.cert_file and mqtt.key_file")
	case a.RoleAlias != "" && m.CertFile == "":
		p.Addf("aws.role_alias", "needs the device's certificate; set mqtt.cert_file and mqtt.key_file")
	}
	if a.EndpointURL != "" {
		u, err := url.Parse(a.EndpointURL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || !validPort(u) || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			p.Addf("aws.endpoint_url", "must be https://HOST:PORT, not %s", shown(redacted(a.EndpointURL)))
		}
	}
	a.Parameters.check(p, a)
	if !matches(templatePattern, a.RotationTemplate) {
		p.Addf("aws.rotation_template", "must be at most 36 letters, digits, _ and -, not %s", shown(a.RotationTemplate))
	}
	checkList(p, "aws.ecr_registries", a.ECRRegistries)
	for i, host := range a.ECRRegistries {
		if !matches(hostPattern, host) {
			p.Addf(yamldoc.Index("aws.ecr_registries", i), "must be HOST or HOST:PORT, not %s", shown(host[strings.LastIndexByte(host, '@')+1:]))
		}
	}
}

func checkList(p *yamldoc.Problems, path string, list []string) {
	if len(list) > maxList {
		p.Addf(path, "has %d entries, more than the %d that are allowed", len(list), maxList)
	}
	for i, v := range list {
		if v == "" {
			p.Addf(yamldoc.Index(path, i), "is empty; write a value or remove it")
		}
		checkPath(p, yamldoc.Index(path, i), v)
	}
}

// matches is for patterns that are looked at a few times in the life of a process.
func matches(pattern, s string) bool { return regexp.MustCompile(pattern).MatchString(s) }
