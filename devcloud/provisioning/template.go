package provisioning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gnomon/devcloud/pki"
)

// certificateID is the parameter that the service itself gives a template.
const certificateID = "AWS::IoT::Certificate::Id"

// template is a fleet provisioning template (AWS IoT Core developer guide, "Provisioning templates").
type template struct {
	Parameters map[string]struct {
		Type    string
		Default *string
	}
	Resources           map[string]resource
	DeviceConfiguration map[string]json.RawMessage
}

type resource struct {
	Type             string
	Properties       json.RawMessage
	OverrideSettings map[string]string
}

// thingProperties are those of AWS::IoT::Thing.
type thingProperties struct {
	ThingName        json.RawMessage
	AttributePayload map[string]json.RawMessage
	ThingTypeName    json.RawMessage
	ThingGroups      []json.RawMessage
}

// certificateProperties are those of AWS::IoT::Certificate, of the kind that fleet provisioning takes.
type certificateProperties struct {
	CertificateID json.RawMessage `json:"CertificateId"`
	Status        json.RawMessage
}

// policyProperties are those of AWS::IoT::Policy: one of the two.
type policyProperties struct {
	PolicyName     json.RawMessage
	PolicyDocument json.RawMessage
}

// plan is what a template comes to with a request's parameters.
type plan struct {
	thing         string
	attributes    map[string]string
	thingType     string
	groups        []string
	active        bool
	policyName    string
	policy        json.RawMessage // a document
	configuration map[string]string
}

// parseTemplate refuses what this look-alike does not know, so that no template means less here than it does at AWS.
func parseTemplate(body []byte) (*template, error) {
	t := &template{}
	if err := strict(body, t); err != nil {
		return nil, err
	}
	count := map[string]int{}
	for name, r := range t.Resources {
		count[r.Type]++
		var into any
		switch r.Type {
		case typeThing:
			into = &thingProperties{}
		case typeCertificate:
			into = &certificateProperties{}
		case typePolicy:
			into = &policyProperties{}
		default:
			return nil, fmt.Errorf("the resource %s has the type %q; write %s, %s or %s", name, r.Type, typeThing, typeCertificate, typePolicy)
		}
		if err := strict(r.Properties, into); err != nil {
			return nil, fmt.Errorf("the resource %s: %w", name, err)
		}
	}
	for _, kind := range []string{typeThing, typeCertificate, typePolicy} {
		if count[kind] > 1 || kind == typeCertificate && count[kind] == 0 {
			return nil, fmt.Errorf("the template has %d resources of the type %s; write one", count[kind], kind)
		}
	}
	return t, nil
}

const (
	typeThing       = "AWS::IoT::Thing"
	typeCertificate = "AWS::IoT::Certificate"
	typePolicy      = "AWS::IoT::Policy"
)

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the template has something that AWS IoT or this look-alike does not know: %w", err)
	}
	return nil
}

// plan works a template out. given are the request's parameters.
func (t *template) plan(given map[string]string, id string) (*plan, error) {
	values := scope{certificateID: id}
	for name, p := range t.Parameters {
		if v, ok := given[name]; ok {
			values[name] = v
		} else if p.Default != nil {
			values[name] = *p.Default
		}
	}
	values[certificateID] = id // not the client's to give
	out := &plan{active: true, configuration: map[string]string{}, attributes: map[string]string{}}
	for _, r := range t.Resources {
		if err := out.add(r, values); err != nil {
			return nil, err
		}
	}
	for name, raw := range t.DeviceConfiguration {
		v, err := values.text(raw)
		if err != nil {
			return nil, err
		}
		out.configuration[name] = v
	}
	return out, nil
}

func (p *plan) add(r resource, values scope) (err error) {
	text := func(raw json.RawMessage) (v string) {
		if raw != nil && err == nil {
			v, err = values.text(raw)
		}
		return v
	}
	switch r.Type {
	case typeThing:
		in := thingProperties{}
		_ = json.Unmarshal(r.Properties, &in) // parseTemplate has done it
		p.thing, p.thingType = text(in.ThingName), text(in.ThingTypeName)
		for name, raw := range in.AttributePayload {
			p.attributes[name] = text(raw)
		}
		for _, raw := range in.ThingGroups {
			p.groups = append(p.groups, text(raw))
		}
		if err == nil {
			err = pki.CheckName(p.thing)
		}
	case typeCertificate:
		in := certificateProperties{}
		_ = json.Unmarshal(r.Properties, &in)
		text(in.CertificateID)
		p.active = in.Status == nil || strings.EqualFold(text(in.Status), "active")
	case typePolicy:
		in := policyProperties{}
		_ = json.Unmarshal(r.Properties, &in)
		p.policyName, p.policy = text(in.PolicyName), in.PolicyDocument
		document := ""
		if json.Unmarshal(p.policy, &document) == nil && document != "" { // AWS takes it as a string as well
			p.policy = json.RawMessage(document)
		}
	}
	return err
}

// scope is what names stand for.
type scope map[string]string

// text works out a string, {"Ref": name}, {"Fn::Join": [separator, [parts…]]}, {"Fn::Sub": "…${name}…"} or
// {"Fn::Select": [index, [parts…]]}.
func (s scope) text(raw json.RawMessage) (string, error) {
	plain := ""
	if json.Unmarshal(raw, &plain) == nil {
		return plain, nil
	}
	call := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &call); err != nil || len(call) != 1 {
		return "", errors.New("a value is neither a string nor one function")
	}
	for name, argument := range call {
		switch name {
		case "Ref":
			return s.ref(argument)
		case "Fn::Sub":
			return s.substitute(argument)
		case "Fn::Join", "Fn::Select":
			first, parts, err := s.list(argument)
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			if name == "Fn::Join" {
				return strings.Join(parts, first), nil
			}
			for i, part := range parts {
				if fmt.Sprint(i) == first {
					return part, nil
				}
			}
			return "", fmt.Errorf("Fn::Select: there is no part %s", first)
		default:
			return "", fmt.Errorf("the function %s is not one that this look-alike knows", name)
		}
	}
	return "", nil
}

func (s scope) ref(argument json.RawMessage) (string, error) {
	name := ""
	if err := json.Unmarshal(argument, &name); err != nil {
		return "", errors.New("a Ref needs a name")
	}
	v, ok := s[name]
	if !ok {
		return "", invalid(badParameters, "Cannot resolve reference value: "+name) // AWS's words
	}
	return v, nil
}

func (s scope) substitute(argument json.RawMessage) (string, error) {
	text, out := "", ""
	if err := json.Unmarshal(argument, &text); err != nil {
		return "", errors.New("Fn::Sub needs a string")
	}
	for {
		before, rest, found := strings.Cut(text, "${")
		out += before
		if !found {
			return out, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		v, known := s[name]
		if !closed || !known {
			return "", invalid(badParameters, "Cannot resolve reference value: "+name)
		}
		out, text = out+v, after
	}
}

// list takes [first, [parts…]] apart.
func (s scope) list(argument json.RawMessage) (first string, parts []string, err error) {
	both, raw := []json.RawMessage{}, []json.RawMessage{}
	if json.Unmarshal(argument, &both) != nil || len(both) != 2 || json.Unmarshal(both[1], &raw) != nil {
		return "", nil, errors.New("it needs a text and a list")
	}
	if first, err = s.text(both[0]); err != nil {
		return "", nil, err
	}
	for _, r := range raw {
		part, err := s.text(r)
		if err != nil {
			return "", nil, err
		}
		parts = append(parts, part)
	}
	return first, parts, nil
}
