package config

import (
	_ "embed" // for the schema
	"slices"
)

//go:embed schema.json
var schemaJSON []byte

// Schema is a JSON Schema (draft 2020-12) of the configuration, for editors and other programs that write one. What it
// refuses, Validate refuses too; rules between keys are Validate's alone. It asks for mappings where a file may also
// leave a section empty.
func Schema() []byte { return slices.Clone(schemaJSON) }
