// Package config is gnomon's configuration: one YAML file, its defaults, its checks and its JSON schema.
//
// The file is read strictly (config/yamldoc): everything that is wrong is reported at once, one sentence a problem
// with its line and column. What the file does not say keeps its default; the default file itself is DefaultYAML. The
// sources are a mapping from their names, in the shape in which a device shadow holds them.
//
// Pure Go. A Config is a plain value: nothing here keeps or shares one, and functions may be called concurrently.
package config

import "time"

// Config is the whole configuration. The tag jsonschema_description of each field is its documentation.
type Config struct {
	Device    Device            `yaml:"device" jsonschema_description:"Who this device is."`
	Sources   map[string]Source `yaml:"sources" jsonschema_description:"Where pictures come from: a name, which is part of the MQTT topic, and a source. Setting it replaces the sample video."`
	Model     Model             `yaml:"model" jsonschema_description:"What looks at the pictures."`
	Engine    Engine            `yaml:"engine" jsonschema_description:"How ONNX Runtime runs the model."`
	MQTT      MQTT              `yaml:"mqtt" jsonschema_description:"Where detections go."`
	Shadow    Shadow            `yaml:"shadow" jsonschema_description:"The AWS IoT Device Shadow that deploys models and sets the sources."`
	Models    Models            `yaml:"models" jsonschema_description:"How models that the shadow names are fetched, trusted, tried and kept."`
	AWS       AWS               `yaml:"aws" jsonschema_description:"AWS as models and settings need it: credentials come from the device's certificate."`
	Telemetry Telemetry         `yaml:"telemetry" jsonschema_description:"What waits for the broker, and what is sent beside detections."`
	Log       Log               `yaml:"log" jsonschema_description:"What is written to standard error."`
}

// Device is the section device.
type Device struct {
	Thing string `yaml:"thing" jsonschema_description:"The device's name, one level of the MQTT topics, at most 128 bytes without / + # or spaces. Empty: the host's name."`
}

// Model is the section model.
type Model struct {
	Path     string `yaml:"path" jsonschema_description:"An ONNX file, or the word default for the model inside the program."`
	Manifest string `yaml:"manifest" jsonschema_description:"The file that says how to read the model. Empty: the file with the model's name and the ending .yaml, if there is one."`
}

// MQTT is the section mqtt.
type MQTT struct {
	Broker       string   `yaml:"broker" jsonschema_description:"The word embedded (a broker inside the program, on a loopback port), or mqtt://host:1883, or mqtts://host:8883 for TLS."`
	ClientID     string   `yaml:"client_id" jsonschema_description:"The MQTT client identifier, which must differ from every other client's. Empty: the device's name."`
	Username     string   `yaml:"username" jsonschema_description:"The name to log in with. Empty: none."`
	PasswordFile string   `yaml:"password_file" jsonschema_description:"A file whose first line is the password."`
	CAFile       string   `yaml:"ca_file" jsonschema_description:"TLS: a PEM file with the authorities that may have signed the broker's certificate. Empty: those of the system."`
	CertFile     string   `yaml:"cert_file" jsonschema_description:"TLS: a PEM file with this device's certificate, together with key_file."`
	KeyFile      string   `yaml:"key_file" jsonschema_description:"TLS: a PEM file with the certificate's private key."`
	TopicPrefix  string   `yaml:"topic_prefix" jsonschema_description:"What topics begin with: PREFIX/THING/SOURCE/detections and PREFIX/THING/status. At most 5 levels."`
	QoS          int      `yaml:"qos" jsonschema_description:"0: detections may get lost. 1: they are sent until the broker has them."`
	KeepAlive    Duration `yaml:"keep_alive" jsonschema_description:"How often a silent connection is tested: 30s to 20m."`
	Outbox       int      `yaml:"outbox" jsonschema_description:"How many messages wait for the broker where they wait in memory (telemetry.spool.dir), 1 to 100000; beyond that the oldest of the least important are dropped and counted."`
	Publish      Publish  `yaml:"publish" jsonschema_description:"detections sends a message for each frame in which something was found, every-frame for each frame."`
}

// Publish says which frames are worth a message.
type Publish string

// The choices of what is published.
const (
	PublishDetections Publish = "detections"
	PublishEveryFrame Publish = "every-frame"
)

// Log is the section log.
type Log struct {
	Level  Level  `yaml:"level" jsonschema_description:"The least important messages to write: debug, info, warn or error."`
	Format Format `yaml:"format" jsonschema_description:"console is for people, json for programs; auto is console on a terminal and json elsewhere."`
}

// Level is the importance of a log message.
type Level string

// The levels.
const (
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

// Format is how log messages are written.
type Format string

// The formats.
const (
	FormatAuto    Format = "auto"
	FormatJSON    Format = "json"
	FormatConsole Format = "console"
)

// The words that stand for what is inside the program.
const (
	SourceSample   = "sample"   // in Source.URI: the sample video
	ModelDefault   = "default"  // in Model.Path: the default model
	BrokerEmbedded = "embedded" // in MQTT.Broker: the broker in the process
)

// sample is the source that there is without any.
func sample() Source {
	var s Source
	s.SetDefaults()
	s.URI, s.Loop, s.Pace = SourceSample, true, PaceRealtime
	return s
}

// Default is the configuration without a file: the demo. DefaultYAML says the same in YAML.
func Default() Config {
	return Config{
		Sources: map[string]Source{
			SourceSample: sample(),
		},
		Model: Model{Path: ModelDefault},
		Engine: Engine{
			Providers: []string{ProviderCPU}, Plugins: []string{}, ProviderOptions: map[string]map[string]string{}, RunTimeout: Duration(10 * time.Second),
		},
		MQTT: MQTT{
			Broker: BrokerEmbedded, TopicPrefix: "dt/gnomon", QoS: 1, KeepAlive: Duration(time.Minute), Outbox: 10000, Publish: PublishDetections,
		},
		Shadow: Shadow{Name: "gnomon"},
		Models: Models{
			MaxSize: 4 * gigabyte, DownloadSize: 2 * gigabyte, DownloadTimeout: Duration(6 * time.Hour), ProbeTimeout: Duration(2 * time.Minute),
			Probation: Duration(time.Minute), MaxSlowdown: 3, MinDetections: 0.1, Allow: []string{}, TrustedKeys: []string{},
		},
		AWS: AWS{ECRRegistries: []string{}, Parameters: Parameters{Every: Duration(5 * time.Minute)}},
		Telemetry: Telemetry{
			Spool:   Spool{MaxSize: 500 * megabyte, CommitEvery: Duration(50 * time.Millisecond)},
			Metrics: Metrics{Every: Duration(30 * time.Second), Listen: "127.0.0.1:9464"},
			Logs:    Logs{Enabled: true, Level: LevelInfo, Rate: 50, Units: []string{}, Files: []string{}},
		},
		Log: Log{Level: LevelInfo, Format: FormatAuto},
	}
}
