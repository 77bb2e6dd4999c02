package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const region, account = "eu-central-1", "000000000000"

// stack is the template with its references resolved, as far as that is possible before anything exists.
type stack struct {
	t         *testing.T
	root      object
	values    map[string]any // parameters and pseudo parameters
	reference *regexp.Regexp // in Fn::Sub
	used      map[string]bool
}

// absent stands for AWS::NoValue: what it is the value of disappears.
type absent struct{}

// openStack reads gnomon.yaml with the default values of its parameters, but for those given.
func openStack(t *testing.T, parameters map[string]any) *stack {
	t.Helper()
	data, err := os.ReadFile("gnomon.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{
		t: t, root: parseTemplate(t, data), reference: regexp.MustCompile(`\$\{[^}]*\}`), used: map[string]bool{},
		values: map[string]any{
			"AWS::Region": region, "AWS::AccountId": account, "AWS::Partition": "aws", "AWS::NoValue": absent{},
		},
	}
	for name, p := range s.section("Parameters") {
		s.values[name] = p.(object)["Default"]
	}
	for name := range parameters {
		if _, known := s.values[name]; !known {
			t.Fatalf("the template has no parameter %s", name)
		}
	}
	maps.Copy(s.values, parameters)
	return s
}

func (s *stack) section(name string) object {
	s.t.Helper()
	section, ok := s.root[name].(object)
	if !ok {
		s.t.Fatalf("the template has no %s", name)
	}
	return section
}

// names are the logical names of the resources of a type, in order.
func (s *stack) names(kind string) (names []string) {
	for name, r := range s.section("Resources") {
		if r.(object)["Type"] == kind {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// properties are those of a resource, resolved.
func (s *stack) properties(name string) object {
	s.t.Helper()
	r, ok := s.section("Resources")[name].(object)
	if !ok {
		s.t.Fatalf("the template has no resource %s", name)
	}
	return s.resolve(r["Properties"]).(object)
}

// document is a member of a resource as JSON.
func (s *stack) document(name, member string) []byte {
	s.t.Helper()
	value := s.properties(name)[member]
	if text, ok := value.(string); ok {
		return []byte(text)
	}
	data, err := json.Marshal(value)
	if err != nil || value == nil {
		s.t.Fatalf("%s of %s: %v %v", member, name, value, err)
	}
	return data
}

func (s *stack) resolve(value any) any {
	s.t.Helper()
	switch v := value.(type) {
	case object:
		if len(v) == 1 {
			for name, argument := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return s.function(name, argument)
				}
			}
		}
		m := object{}
		for key, member := range v {
			if got := s.resolve(member); got != (absent{}) {
				m[key] = got
			}
		}
		return m
	case []any:
		list := []any{}
		for _, member := range v {
			if got := s.resolve(member); got != (absent{}) {
				list = append(list, got)
			}
		}
		return list
	}
	return value
}

func (s *stack) function(name string, argument any) any {
	s.t.Helper()
	switch name {
	case "Ref":
		return s.ref(argument.(string))
	case "Fn::GetAtt":
		return s.attribute(argument.([]any)[0].(string), argument.([]any)[1].(string))
	case "Fn::Sub":
		return s.substitute(argument.(string))
	case "Fn::Equals":
		pair := argument.([]any)
		return reflect.DeepEqual(s.resolve(pair[0]), s.resolve(pair[1]))
	case "Fn::Not":
		return s.resolve(argument.([]any)[0]) == false
	case "Fn::If":
		choice := argument.([]any)
		if s.condition(choice[0].(string)) {
			return s.resolve(choice[1])
		}
		return s.resolve(choice[2])
	}
	s.t.Fatalf("the template has %s, which this test does not know", name)
	return nil
}

func (s *stack) condition(name string) bool {
	s.t.Helper()
	s.used[name] = true
	condition, ok := s.section("Conditions")[name]
	if !ok {
		s.t.Fatalf("the template has no condition %s", name)
	}
	return s.resolve(condition) == true
}

func (s *stack) substitute(text string) string {
	s.t.Helper()
	return s.reference.ReplaceAllStringFunc(text, func(found string) string {
		name := found[2 : len(found)-1]
		if kept, ok := strings.CutPrefix(name, "!"); ok {
			return "${" + kept + "}"
		}
		if resource, attribute, ok := strings.Cut(name, "."); ok {
			return s.attribute(resource, attribute)
		}
		return fmt.Sprint(s.ref(name))
	})
}

// ref is the value of a parameter, or what a resource is called.
func (s *stack) ref(name string) any {
	s.t.Helper()
	s.used[name] = true
	if value, ok := s.values[name]; ok {
		return value
	}
	r, ok := s.section("Resources")[name].(object)
	if !ok {
		s.t.Fatalf("nothing in the template is called %s", name)
	}
	member := map[string]string{
		"AWS::IoT::ThingType": "ThingTypeName", "AWS::IoT::ThingGroup": "ThingGroupName", "AWS::IoT::Policy": "PolicyName",
		"AWS::IoT::RoleAlias": "RoleAlias", "AWS::IoT::ProvisioningTemplate": "TemplateName", "AWS::Kinesis::Stream": "Name",
		"AWS::Logs::LogGroup": "LogGroupName", "AWS::ECR::Repository": "RepositoryName", "AWS::SSM::Parameter": "Name",
	}[r["Type"].(string)]
	if member == "" {
		return "made-" + strings.ToLower(name) // CloudFormation chooses
	}
	return s.resolve(r["Properties"].(object)[member])
}

// attribute is an ARN in the way of AWS; which one does not matter to the tests, only that it is one resource's.
func (s *stack) attribute(name, attribute string) string {
	s.t.Helper()
	r, ok := s.section("Resources")[name].(object)
	if !ok || attribute != "Arn" && attribute != "RepositoryUri" {
		s.t.Fatalf("the template has no resource %s with a %s", name, attribute)
	}
	s.used[name] = true
	service := strings.ToLower(strings.Split(r["Type"].(string), "::")[1])
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, region, account, s.ref(name))
}
