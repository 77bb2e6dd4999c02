package yamldoc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gnomon/config/yamldoc"
)

func TestDecodeErrors(t *testing.T) {
	deep := strings.Repeat("[", yamldoc.MaxDepth+1)
	var keys strings.Builder
	for i := range yamldoc.MaxKeys + 1 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	tests := []struct{ name, text, want string }{
		{"unknown key, slip", "mqtt:\n  brokr: x", `2:3: unknown key "brokr" in mqtt; did you mean "broker"?`},
		{"unknown key, swap", "mqtt: {usrename: x}", `1:8: unknown key "usrename" in mqtt; did you mean "username"?`},
		{"unknown key, spelling", "mqtt: {Keep-Alive: 1}", `1:8: unknown key "Keep-Alive" in mqtt; did you mean "keep_alive"?`},
		{"unknown key, beginning", "mqtt: {user: x}", `1:8: unknown key "user" in mqtt; did you mean "username"?`},
		{"unknown key, nothing near", "mqtt: {zzz: x}", `1:8: unknown key "zzz" in mqtt; its keys are broker, keep_alive, username`},
		{"unknown key, top level", "\nnam: x", `2:1: unknown key "nam" in the top level; did you mean "name"?`},
		{"unknown key in a map", "cams:\n  a:\n    url: x", `3:5: unknown key "url" in cams.a; did you mean "uri"?`},
		{"unknown key in a quoted name", "cams:\n  \"a.b\":\n    url: x", `3:5: unknown key "url" in cams["a.b"]; did you mean "uri"?`},
		{"unexported field", "hidden: x", `1:1: unknown key "hidden" in the top level; its keys are name, on, count, small, ratio, limit, mqtt, cams, mean, shape, rows`},
		{"key twice", "name: a\non: true\nname: b", `3:1: name is set twice; the first is on line 1`},
		{"key twice in a map", "cams:\n  a: {uri: x}\n  a: {uri: y}", `3:3: cams.a is set twice; the first is on line 2`},
		{"no key", "~: a", `1:1: a key is missing before the colon`},
		{"text for a number", "count: ten", `1:8: count must be a whole number, not the text "ten"`},
		{"quoted number", `count: "3"`, `1:8: count must be a whole number, not the text "3"`},
		{"fraction", "count: 1.5", `1:8: count must be a whole number, not the number 1.5`},
		{"exponent", "count: 1e3", `1:8: count must be a whole number, not the number 1e3`},
		{"octal", "count: 017", `1:8: count must be a whole number, not the number 017; write it in decimal, without leading zeros`},
		{"hexadecimal", "ratio: 0x1F", `1:8: ratio must be a number, not the number 0x1F; write it in decimal, without leading zeros`},
		{"underscores", "count: 1_000", `1:8: count must be a whole number, not the text "1_000"`},
		{"int too large", "count: 99999999999999999999", `1:8: count is out of range: "99999999999999999999"`},
		{"uint8 too large", "small: 256", `1:8: small is out of range: 256`},
		{"uint8 negative", "small: -1", `1:8: small is out of range: -1`},
		{"float too large", "ratio: 1e39", `1:8: ratio is out of range: "1e39"`},
		{"not a number", "ratio: .nan", `1:8: ratio must be a number, not the number .nan`},
		{"infinity", "ratio: -.inf", `1:8: ratio must be a number, not the number -.inf`},
		{"number for text", "name: 1.10", `1:7: name must be text, not the number 1.10; put it in quotes: "1.10"`},
		{"truth value for text", "name: true", `1:7: name must be text, not true; put it in quotes: "true"`},
		{"list for text", "name: [a]", `1:7: name must be text, not a list`},
		{"block list for text", "name:\n- a", `1:1: name must be text, not a list`},
		{"mapping for text", "name: {a: b}", `1:7: name must be text, not a mapping`},
		{"block mapping for text", "name:\n  a: b", `1:1: name must be text, not a mapping`},
		{"old truth value", "on: yes", `1:5: on must be true or false, not the text "yes"`},
		{"number for truth value", "on: 1", `1:5: on must be true or false, not the number 1`},
		{"nothing for text", "mqtt:\n  broker:\n", `2:3: mqtt.broker is empty; write a value or remove the key`},
		{"nothing for a number", "count: ~", `1:1: count is empty; write a value or remove the key`},
		{"nothing for a list", "mean:", `1:1: mean is empty; write a value or remove the key`},
		{"text for a mapping", "mqtt: x", `1:7: mqtt must be a mapping ("key: value" lines), not the text "x"`},
		{"text for a list", "mean: x", `1:7: mean must be a list ([a, b] or lines that begin with -), not the text "x"`},
		{"list as the file", "- a", `1:1: the file must be a mapping ("key: value" lines), not a list`},
		{"text as the file", "hello", `1:1: the file must be a mapping ("key: value" lines), not the text "hello"`},
		{"entry of a list", "mean:\n- 1\n- x", `3:3: mean[1] must be a number, not the text "x"`},
		{"empty entry of a list", "mean:\n- 1\n-", `3:3: mean[1] is empty; write a value or remove the key`},
		{"Unmarshaler", "shape: x", `1:8: shape must be a number or a list of two, not the text "x"`},
		{"Unmarshaler, nested", "shape: [1, x]", `1:12: shape[1] must be a whole number, not the text "x"`},
		{"Unmarshaler, its own rule", "shape: [1]", `1:8: shape must have 2 entries, not 1`},
		{"Unmarshaler, nothing", "shape:", `1:1: shape is empty; write a value or remove the key`},
		{"long text", "count: " + strings.Repeat("é", 100), `1:8: count must be a whole number, not the text "` + strings.Repeat("é", 60) + `…"`},
		{"column in characters", "cams: {日本: {url: x}}", `1:13: unknown key "url" in cams.日本; did you mean "uri"?`},
		{"two documents", "name: a\n---\nname: b\n", `3:1: a second document begins here; the file must have only one, so remove the --- line and what does not belong`},
		{"anchor", "name: &a b", `1:7: anchors and aliases ("&") are not supported; write the value out, or quote it if it is text`},
		{"alias", "name: *a", `1:7: anchors and aliases ("*") are not supported; write the value out, or quote it if it is text`},
		{"merge key", "<<: {name: a}", `1:1: anchors and aliases ("<<") are not supported; write the value out, or quote it if it is text`},
		{"tag", "name: !!str 1", `1:7: tags ("!!str") are not supported; remove it, or quote the value if it is text`},
		{"directive", "%YAML 1.2\n---\nname: a", `1:1: directives (%) are not supported; remove the line, or quote the value if it is text`},
		{"complex key", "? name\n: a", `1:1: keys that begin with "? " are not supported; write them as key: value`},
		{"too deep", "mean: " + deep, fmt.Sprintf(`1:%d: lists and mappings are nested more than 16 deep`, len("mean: ")+len(deep))},
		{"too deep, dashes", strings.Repeat("- ", 17), `1:33: lists and mappings are nested more than 16 deep`},
		{"too many keys", keys.String(), `4097:6: the file has more than the 4096 keys that are allowed`},
		{"too large", strings.Repeat("#", yamldoc.MaxSize+1), `1:1: the file has 262145 bytes, more than the 262144 that are allowed`},
		{"binary", "\xff\xd8\xff\xe0", `1:1: this is not UTF-8 text`},
		{"binary further down", "a: b\nc\xff", `2:2: this is not UTF-8 text`},
		{"NUL", "name: a\x00", `1:8: the control character U+0000 is not allowed; is this a text file?`},
		{"wrong indentation", "mqtt:\n  broker: x\n    username: y", `2:11: a key is not allowed here; indent keys of one mapping alike, write one "key: value" a line, and quote text that has ": " in it`},
		{"two keys on a line", "name: a: b", `1:7: a key is not allowed here; indent keys of one mapping alike, write one "key: value" a line, and quote text that has ": " in it`},
		{"missing colon", "name: a\non\n", `2:1: this is not "key: value"; is a colon or the space after it missing?`},
		{"tab", "mqtt:\n\tbroker: x", `2:1: a tab is not allowed in the indentation; use spaces`},
		{"open list", "mean: [1, 2", `1:7: the list that begins here has no closing ]`},
		{"open mapping", "mqtt: {broker: x", `1:7: the mapping that begins here has no closing }`},
		{"open quote", "name: 'a", `1:7: the text that begins here has no closing '`},
		{"open double quote", `name: "a`, `1:7: the text that begins here has no closing "`},
		{"list beside its key", "mean: - 1", "1:7: a list may not begin on its key's line; write \"- \" on a line of its own, or [a, b]"},
		{"reserved character", "name: @a", "1:7: text may not begin with @ or `; put it in quotes"},
		{"escape", `name: "C:\cam"`, "1:11: this escape is unknown in double quotes; write \\\\ for a backslash, or use single quotes"},
		{"all at once, in order", "cout: 1\non: 1\nmqtt:\n  keep_alive: x\ncount: y", `1:1: unknown key "cout" in the top level; did you mean "count"?
f.yaml:2:5: on must be true or false, not the number 1
f.yaml:4:15: mqtt.keep_alive must be a whole number, not the text "x"
f.yaml:5:8: count must be a whole number, not the text "y"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := yamldoc.Decode("f.yaml", []byte(tt.text), &file{})
			if err == nil {
				t.Fatal("no error")
			}
			if want := "f.yaml:" + tt.want; err.Error() != want {
				t.Errorf("\ngot  %s\nwant %s", err, want)
			}
			var all *yamldoc.Error
			if !errors.As(err, &all) || all.Name != "f.yaml" || len(all.Problems) == 0 {
				t.Errorf("not a full *yamldoc.Error: %#v", err)
			}
		})
	}
}

func TestDecodeWrongTarget(t *testing.T) {
	var nothing *file
	for _, into := range []any{nil, file{}, nothing, new(int), map[string]int{}} {
		if _, err := yamldoc.Decode("f.yaml", nil, into); err == nil {
			t.Errorf("%T: no error", into)
		}
	}
	var unreadable struct {
		C chan int       `yaml:"c"`
		M map[int]string `yaml:"m"`
	}
	_, err := yamldoc.Decode("f.yaml", []byte("c: 1\nm: {1: a}"), &unreadable)
	const want = "f.yaml:1:4: c has a type that cannot be read: chan int\nf.yaml:2:4: m has a type that cannot be read: map[int]string"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestManyProblems(t *testing.T) {
	text := "mean: [" + strings.Repeat("x, ", yamldoc.MaxProblems+5) + "]"
	_, err := yamldoc.Decode("f.yaml", []byte(text), &file{})
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != yamldoc.MaxProblems+1 || lines[yamldoc.MaxProblems] != "f.yaml: and 5 more problems" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}
