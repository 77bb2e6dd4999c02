package config_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"gnomon/config"
)

// schemaObject is what the tests look at in a JSON schema.
type schemaObject struct {
	Schema               string                   `json:"$schema"`
	Type                 string                   `json:"type"`
	Description          string                   `json:"description"`
	Pattern              string                   `json:"pattern"`
	Enum                 []any                    `json:"enum"`
	Default              any                      `json:"default"`
	Required             []string                 `json:"required"`
	Properties           map[string]*schemaObject `json:"properties"`
	AdditionalProperties json.RawMessage          `json:"additionalProperties"`
}

func readSchema(t *testing.T) *schemaObject {
	t.Helper()
	var s schemaObject
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// schemaKeys lists the paths of all keys, those of a source as sources.NAME.KEY.
func schemaKeys(t *testing.T) []string {
	t.Helper()
	var keys []string
	walkSchema(t, readSchema(t), "", func(path string, _ *schemaObject) { keys = append(keys, path) })
	slices.Sort(keys)
	return keys
}

func walkSchema(t *testing.T, s *schemaObject, prefix string, visit func(path string, s *schemaObject)) {
	t.Helper()
	for name, property := range s.Properties {
		visit(prefix+name, property)
		if len(property.Properties) > 0 {
			walkSchema(t, property, prefix+name+".", visit)
		} else if property.Type == "object" {
			var entry schemaObject
			if err := json.Unmarshal(property.AdditionalProperties, &entry); err != nil {
				t.Fatalf("%s%s: %v", prefix, name, err)
			}
			walkSchema(t, &entry, prefix+name+".sample.", visit)
		}
	}
}

func TestSchema(t *testing.T) {
	s := readSchema(t)
	if s.Schema != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %q", s.Schema)
	}
	if got := string(s.AdditionalProperties); got != "false" {
		t.Errorf("the top level allows other keys: %s", got)
	}
	seen := map[string]*schemaObject{}
	walkSchema(t, s, "", func(path string, s *schemaObject) {
		seen[path] = s
		if s.Description == "" {
			t.Errorf("%s has no description", path)
		}
		if len(s.Properties) > 0 && string(s.AdditionalProperties) != "false" {
			t.Errorf("%s allows other keys", path)
		}
	})
	want := []string{
		"aws", "aws.ca_file", "aws.credentials_endpoint", "aws.ecr_registries", "aws.endpoint_url",
		"aws.parameters", "aws.parameters.every", "aws.parameters.path", "aws.region", "aws.role_alias", "aws.rotation_template",
		"device", "device.thing",
		"engine", "engine.batch", "engine.cuda", "engine.cuda.graph", "engine.library", "engine.plugins", "engine.provider_options", "engine.providers",
		"engine.run_timeout", "engine.sessions", "engine.spinning", "engine.strict",
		"engine.tensorrt", "engine.tensorrt.cache_dir", "engine.tensorrt.fp16", "engine.tensorrt.int8", "engine.threads",
		"log", "log.format", "log.level",
		"model", "model.manifest", "model.path",
		"models", "models.allow", "models.dir", "models.download_rate", "models.download_size", "models.download_timeout",
		"models.max_size", "models.max_slowdown", "models.min_detections", "models.private_addresses", "models.probation",
		"models.probe_memory", "models.probe_timeout", "models.registry_credentials", "models.trusted_keys",
		"mqtt", "mqtt.broker", "mqtt.ca_file", "mqtt.cert_file", "mqtt.client_id", "mqtt.keep_alive", "mqtt.key_file", "mqtt.outbox",
		"mqtt.password_file", "mqtt.publish", "mqtt.qos", "mqtt.topic_prefix", "mqtt.username",
		"shadow", "shadow.enabled", "shadow.name",
		"sources", "sources.sample.black_after", "sources.sample.crop", "sources.sample.decoder", "sources.sample.detect_fps",
		"sources.sample.enabled", "sources.sample.flip", "sources.sample.format", "sources.sample.fps", "sources.sample.frozen_after",
		"sources.sample.height", "sources.sample.labels", "sources.sample.loop", "sources.sample.motion", "sources.sample.pace",
		"sources.sample.publish", "sources.sample.roi", "sources.sample.rotate", "sources.sample.score_threshold", "sources.sample.slot",
		"sources.sample.stall", "sources.sample.transport", "sources.sample.uri", "sources.sample.watch", "sources.sample.width",
		"telemetry", "telemetry.basic_ingest", "telemetry.basic_ingest.detections", "telemetry.basic_ingest.events",
		"telemetry.basic_ingest.logs", "telemetry.basic_ingest.metrics",
		"telemetry.logs", "telemetry.logs.enabled", "telemetry.logs.files", "telemetry.logs.journal_units", "telemetry.logs.kernel",
		"telemetry.logs.level", "telemetry.logs.rate",
		"telemetry.metrics", "telemetry.metrics.cloudwatch_namespace", "telemetry.metrics.every", "telemetry.metrics.listen",
		"telemetry.spool", "telemetry.spool.commit_every", "telemetry.spool.dir", "telemetry.spool.max_size",
	}
	if got := schemaKeys(t); !slices.Equal(got, want) {
		t.Errorf("keys\ngot  %v\nwant %v", got, want)
	}
	if d := seen["mqtt.keep_alive"]; d.Type != "string" || d.Pattern == "" || d.Default != "1m0s" {
		t.Errorf("mqtt.keep_alive: %+v", d)
	}
	if d := seen["engine.threads"]; d.Default != "auto" {
		t.Errorf("engine.threads: %+v", d)
	}
	if d := seen["sources.sample.enabled"]; d.Default != true {
		t.Errorf("enabled: %+v", d)
	}
	if d := seen["log.level"]; !slices.Equal(d.Enum, []any{"debug", "info", "warn", "error"}) || d.Default != "info" {
		t.Errorf("log.level: %+v", d)
	}
}

// TestSchemaAgrees holds the schema against the reader: what the default file and a full one say it accepts, and what
// it can refuse of the bad files it does.
func TestSchemaAgrees(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("gnomon.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("gnomon.json")
	if err != nil {
		t.Fatal(err)
	}
	validate := func(yamlText []byte) error {
		t.Helper()
		js, err := yaml.YAMLToJSON(yamlText)
		if err != nil {
			t.Fatalf("%s: %v", yamlText, err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(js))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	for _, good := range []string{
		string(config.DefaultYAML()),
		"{}",
		"sources: {a.b-C_9: {uri: 'rtsp://u:p@h/x', score_threshold: 0.01}, d: {uri: /dev/video0, width: 640, height: 480, fps: 29.97}}",
		"sources: {a: {uri: 'usb:63', format: mjpg, transport: '', crop: [], roi: [0, 0, 1, 1], labels: [a], motion: 1, rotate: 270}, b: {uri: 'rtsp://c', decoder: jetson}}",
		"engine: {sessions: 64, threads: 1, batch: 32, run_timeout: 1m30.5s}",
		"engine: {providers: [tensorrt, cuda, My.Own-EP_1], plugins: [a.so], provider_options: {cuda: {device_id: '1'}}, tensorrt: {fp16: true}}",
		"mqtt: {broker: 'SSL://[::1]:8883', topic_prefix: a/b/c/d/e, keep_alive: 1200s, client_id: c d}",
		"device: {thing: 'é:-_.$'}",
	} {
		if _, err := config.Parse("good.yaml", []byte(good)); err != nil {
			t.Errorf("%s: the reader refuses it: %v", good, err)
		}
		if err := validate([]byte(good)); err != nil {
			t.Errorf("%s: the schema refuses it: %v", good, err)
		}
	}
	for _, bad := range badConfigs {
		if bad.text == "log: {level: info, level: warn}" {
			continue // not JSON
		}
		if refused := validate([]byte(bad.text)) != nil; refused != bad.schema {
			t.Errorf("%s: refused by the schema: %t, want %t", bad.text, refused, bad.schema)
		}
	}
}
