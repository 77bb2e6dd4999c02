package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/invopop/jsonschema"
)

// TestSchemaFile holds the schema in the program against the types. It is made here and not there, because what makes it
// would be half a megabyte of the program:
//
//	go test ./config -run TestSchemaFile -update
func TestSchemaFile(t *testing.T) {
	want := makeSchema(t)
	if *updateSchema {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(Schema(), want) {
		t.Error("schema.json is not what the types say; make it anew: go test ./config -run TestSchemaFile -update")
	}
}

var updateSchema = flag.Bool("update", false, "write schema.json")

// makeSchema reflects the types. It asks for mappings where a file may also leave a section empty.
func makeSchema(t *testing.T) []byte {
	t.Helper()
	r := jsonschema.Reflector{Anonymous: true, DoNotReference: true, FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true}
	s := r.Reflect(&Config{})
	s.Title = "gnomon configuration"
	setDefaults(s, reflect.ValueOf(Default()))
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// setDefaults notes the default of each key that is not a section.
func setDefaults(s *jsonschema.Schema, v reflect.Value) {
	for i := range v.NumField() {
		property := s.Properties.Value(v.Type().Field(i).Tag.Get("yaml"))
		switch value := v.Field(i).Interface().(type) {
		case fmt.Stringer:
			property.Default = value.String()
		default:
			switch field := v.Field(i); field.Kind() {
			case reflect.Struct:
				setDefaults(property, field)
			case reflect.Array, reflect.Map, reflect.Pointer, reflect.Slice:
			default:
				property.Default = value
			}
		}
	}
}

func number(n int) json.Number { return json.Number(strconv.Itoa(n)) }

func length(n uint64) *uint64 { return &n }

// between sets inclusive bounds.
func between(s *jsonschema.Schema, low, high int) {
	s.Minimum, s.Maximum = number(low), number(high)
}

// oneOf sets the words that a value may be.
func oneOf[T ~string](s *jsonschema.Schema, words ...T) {
	for _, w := range words {
		s.Enum = append(s.Enum, string(w))
	}
}

// JSONSchemaExtend adds the rules for the names of sources.
func (Config) JSONSchemaExtend(s *jsonschema.Schema) {
	sources := s.Properties.Value("sources")
	sources.PropertyNames = &jsonschema.Schema{Pattern: sourcePattern}
	sources.MinProperties, sources.MaxProperties = length(1), length(maxSources)
	source := sources.AdditionalProperties
	var d Source
	d.SetDefaults()
	setDefaults(source, reflect.ValueOf(d))
	// These have no default of their own: unset means something else than any value.
	source.Properties.Value("uri").Default = nil
	source.Properties.Value("pace").Default = string(PaceRealtime)
	source.Properties.Value("publish").Default = nil
	source.Properties.Value("slot").Default = DefaultSlot
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Device) JSONSchemaExtend(s *jsonschema.Schema) {
	thing := s.Properties.Value("thing")
	thing.Pattern, thing.MaxLength = thingPattern, length(maxThing)
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Source) JSONSchemaExtend(s *jsonschema.Schema) {
	uri := s.Properties.Value("uri")
	uri.MinLength, uri.MaxLength = length(1), length(maxPath)
	oneOf(s.Properties.Value("pace"), PaceRealtime, PaceMax)
	oneOf(s.Properties.Value("publish"), PublishDetections, PublishEveryFrame)
	between(s.Properties.Value("width"), 0, maxSide)
	between(s.Properties.Value("height"), 0, maxSide)
	between(s.Properties.Value("fps"), 0, maxFPS)
	slot := s.Properties.Value("slot")
	slot.Pattern = `^([a-z0-9_-]{1,64})?$`
	score := s.Properties.Value("score_threshold")
	score.ExclusiveMinimum, score.Maximum = number(0), number(1)
	oneOf(s.Properties.Value("format"), slices.Compact(slices.Sorted(slices.Values(slices.Concat([]string{""}, deviceFormats(), selfDescribing(), rawFormats()))))...)
	oneOf(s.Properties.Value("transport"), "", TransportTCP, TransportUDP)
	oneOf(s.Properties.Value("decoder"), "", DecoderJetson)
	oneOf(s.Properties.Value("flip"), "", FlipHorizontal, FlipVertical, FlipBoth)
	s.Properties.Value("rotate").Enum = []any{0, 90, 180, 270}
	between(s.Properties.Value("detect_fps"), 0, maxFPS)
	between(s.Properties.Value("motion"), 0, 1)
	labels := s.Properties.Value("labels")
	labels.MaxItems, labels.UniqueItems = length(maxLabels), true
	labels.Items.MinLength, labels.Items.MaxLength = length(1), length(maxLabel)
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Model) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Properties.Value("path").MinLength = length(1)
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (MQTT) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Properties.Value("broker").Pattern = `^(` + BrokerEmbedded + `$|([Mm][Qq][Tt][Tt][Ss]?|[Tt][Cc][Pp]|[Ss][Ss][Ll]|[Tt][Ll][Ss])://[^@]+$)`
	s.Properties.Value("client_id").MaxLength = length(maxClientID)
	prefix := s.Properties.Value("topic_prefix")
	prefix.Pattern, prefix.MaxLength = prefixPattern, length(maxTopic)
	between(s.Properties.Value("qos"), 0, 1)
	between(s.Properties.Value("outbox"), 1, maxOutbox)
	oneOf(s.Properties.Value("publish"), PublishDetections, PublishEveryFrame)
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Shadow) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Properties.Value("name").Pattern = shadowNamePattern
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Models) JSONSchemaExtend(s *jsonschema.Schema) {
	for _, key := range [...]string{"allow", "trusted_keys"} {
		s.Properties.Value(key).MaxItems = length(maxList)
		s.Properties.Value(key).Items.MinLength = length(1)
	}
	between(s.Properties.Value("max_slowdown"), 0, maxSlowdown)
	detections := s.Properties.Value("min_detections")
	detections.Minimum, detections.ExclusiveMaximum = number(0), number(1)
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (AWS) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Properties.Value("region").Pattern = regionPattern
	s.Properties.Value("role_alias").Pattern = aliasPattern
	registries := s.Properties.Value("ecr_registries")
	registries.MaxItems, registries.Items.Pattern = length(maxList), hostPattern
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Log) JSONSchemaExtend(s *jsonschema.Schema) {
	oneOf(s.Properties.Value("level"), LevelDebug, LevelInfo, LevelWarn, LevelError)
	oneOf(s.Properties.Value("format"), FormatAuto, FormatJSON, FormatConsole)
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Engine) JSONSchemaExtend(s *jsonschema.Schema) {
	providers := s.Properties.Value("providers")
	providers.MinItems, providers.MaxItems, providers.UniqueItems = length(1), length(maxProviders), true
	providers.Items.Pattern = providerPattern
	plugins := s.Properties.Value("plugins")
	plugins.MaxItems, plugins.Items.MinLength = length(maxProviders), length(1)
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (BasicIngest) JSONSchemaExtend(s *jsonschema.Schema) {
	for _, rule := range [...]string{"detections", "events", "metrics", "logs"} {
		s.Properties.Value(rule).Pattern = rulePattern
	}
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Metrics) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Properties.Value("cloudwatch_namespace").Pattern = namespacePattern
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Logs) JSONSchemaExtend(s *jsonschema.Schema) {
	between(s.Properties.Value("rate"), 1, maxLogRate)
	oneOf(s.Properties.Value("level"), LevelDebug, LevelInfo, LevelWarn, LevelError)
	units, files := s.Properties.Value("journal_units"), s.Properties.Value("files")
	units.MaxItems, files.MaxItems = length(maxLogSources), length(maxLogSources)
	units.Items.Pattern, files.Items.MinLength, files.UniqueItems = unitPattern, length(1), true
}

// JSONSchemaExtend adds the rules that the types do not tell.
func (Parameters) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Properties.Value("path").Pattern = parameterPattern
}

// JSONSchema describes the type.
func (Duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: durationPattern, Examples: []any{"10s", "1m30s"}}
}

// JSONSchema describes the type.
func (Area) JSONSchema() *jsonschema.Schema {
	share := &jsonschema.Schema{Type: "number", Minimum: number(0), Maximum: number(1)}
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "array", MaxItems: length(0)},
		{Type: "array", Items: share, MinItems: length(4), MaxItems: length(4)},
	}, Examples: []any{[]float64{0, 0.5, 1, 0.5}}}
}

// JSONSchema describes the type.
func (Count) JSONSchema() *jsonschema.Schema { return countSchema(MaxCount) }

// JSONSchema describes the type.
func (Batch) JSONSchema() *jsonschema.Schema { return countSchema(MaxBatch) }

func countSchema(most int) *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string", Const: autoWord},
		{Type: "integer", Minimum: "1", Maximum: number(most)},
	}}
}

// JSONSchema describes the type.
func (Size) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string", Pattern: sizePattern},
		{Type: "integer", Const: 0},
	}, Examples: []any{"20MB", "4GB"}}
}
