package aws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// object is a mapping of the template. Short forms such as !Sub are written out: {"Fn::Sub": …}.
type object = map[string]any

// parseTemplate reads CloudFormation's YAML, which no decoder reads because of the short forms.
func parseTemplate(t *testing.T, data []byte) object {
	t.Helper()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Docs) != 1 {
		t.Fatalf("the file has %d documents", len(file.Docs))
	}
	value, err := plain(file.Docs[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	root, ok := value.(object)
	if !ok {
		t.Fatalf("the template is a %T", value)
	}
	return root
}

func plain(n ast.Node) (any, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return plainMapping(n.Values)
	case *ast.MappingValueNode:
		return plainMapping([]*ast.MappingValueNode{n})
	case *ast.SequenceNode:
		list := []any{}
		for _, v := range n.Values {
			item, err := plain(v)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case *ast.TagNode:
		return plainTag(n)
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode:
		return n.Value, nil
	case *ast.BoolNode:
		return n.Value, nil
	}
	return nil, fmt.Errorf("line %d: %s is nothing that a template has", n.GetToken().Position.Line, n.Type())
}

func plainMapping(values []*ast.MappingValueNode) (object, error) {
	m := object{}
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			return nil, fmt.Errorf("line %d: the key is no string", v.Key.GetToken().Position.Line)
		}
		value, err := plain(v.Value)
		if err != nil {
			return nil, err
		}
		m[key.Value] = value
	}
	return m, nil
}

func plainTag(n *ast.TagNode) (any, error) {
	value, err := plain(n.Value)
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(n.Start.Value, "!")
	switch name {
	case "Ref":
		return object{name: value}, nil
	case "GetAtt":
		resource, attribute, _ := strings.Cut(fmt.Sprint(value), ".")
		return object{"Fn::GetAtt": []any{resource, attribute}}, nil
	}
	return object{"Fn::" + name: value}, nil
}
