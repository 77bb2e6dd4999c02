package iot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	// policyVersion is the only version of the policy language that has variables.
	policyVersion = "2012-10-17"
	// maxPolicy is AWS's limit for a policy document, in bytes without white space.
	maxPolicy = 2048

	attachedKey = "iot:Connection.Thing.IsAttached"
)

// The actions that this package and its callers ask a policy about.
const (
	ActionConnect       = "iot:Connect"
	ActionPublish       = "iot:Publish"
	ActionRetainPublish = "iot:RetainPublish"
	ActionReceive       = "iot:Receive"
	ActionSubscribe     = "iot:Subscribe"
	ActionAssumeRole    = "iot:AssumeRoleWithCertificate"
)

// Policy is an AWS IoT policy, ready to be asked. It never changes, so it may be used from any goroutine.
type Policy struct {
	arn        string // what every resource begins with: arn:aws:iot:REGION:ACCOUNT:
	statements []statement
}

type statement struct {
	deny      bool
	actions   []pattern
	resources []pattern
	attached  string // what iot:Connection.Thing.IsAttached must be; empty: either
}

// Subject is whom a policy is asked about. Variables that it has no value for make a resource match nothing.
type Subject struct {
	ClientID   string // empty: the request is not MQTT's
	CommonName string // of the certificate
	Thing      string // that the certificate is attached to
}

// attached reports whether ${iot:Connection.Thing.…} is known: over MQTT only if the client id is the thing's name.
func (s Subject) attached() bool {
	return s.Thing != "" && (s.ClientID == "" || s.ClientID == s.Thing)
}

func (s Subject) variable(name string) (string, bool) {
	switch name {
	case "iot:Connection.Thing.ThingName":
		return s.Thing, s.attached()
	case "iot:ClientId":
		return s.ClientID, s.ClientID != ""
	case "iot:Certificate.Subject.CommonName":
		return s.CommonName, s.CommonName != ""
	}
	return "", false
}

// texts is a JSON string or a list of them.
type texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *texts) UnmarshalJSON(data []byte) error {
	one := ""
	if json.Unmarshal(data, &one) == nil {
		*t = texts{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(t))
}

// ParsePolicy reads a policy document for resources of one region and account. What it does not know it refuses, so
// that no document means less here than it does at AWS: of the conditions it knows Bool with
// iot:Connection.Thing.IsAttached, and of the variables iot:Connection.Thing.ThingName, iot:ClientId and
// iot:Certificate.Subject.CommonName.
func ParsePolicy(document []byte, region, account string) (*Policy, error) {
	p := &Policy{arn: "arn:aws:iot:" + region + ":" + account + ":"}
	compact := bytes.Buffer{}
	if err := json.Compact(&compact, document); err != nil {
		return nil, fmt.Errorf("the policy is not JSON: %w", err)
	}
	if compact.Len() > maxPolicy {
		return nil, fmt.Errorf("the policy has %d bytes without white space; AWS IoT takes %d", compact.Len(), maxPolicy)
	}
	raw := struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}{}
	if err := strict(document, &raw); err != nil {
		return nil, err
	}
	if raw.Version != policyVersion {
		return nil, fmt.Errorf("the policy's Version is %q; write %q, older ones have no variables", raw.Version, policyVersion)
	}
	list := []json.RawMessage{}
	if json.Unmarshal(raw.Statement, &list) != nil {
		list = []json.RawMessage{raw.Statement}
	}
	if len(list) == 0 {
		return nil, errors.New("the policy has no Statement; write at least one")
	}
	for i, data := range list {
		s, err := parseStatement(data)
		if err != nil {
			return nil, fmt.Errorf("statement %d of the policy: %w", i+1, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("the policy has something that AWS IoT or this look-alike does not know: %w", err)
	}
	return nil
}

func parseStatement(data []byte) (statement, error) {
	raw := struct {
		Sid, Effect      string
		Action, Resource texts
		Condition        map[string]map[string]texts
	}{}
	s := statement{}
	if err := strict(data, &raw); err != nil {
		return s, err
	}
	if raw.Effect != "Allow" && raw.Effect != "Deny" {
		return s, fmt.Errorf("the Effect is %q; write Allow or Deny", raw.Effect)
	}
	s.deny = raw.Effect == "Deny"
	if len(raw.Action) == 0 || len(raw.Resource) == 0 {
		return s, errors.New("there is no Action or no Resource; write both")
	}
	for _, text := range raw.Action {
		a, err := parsePattern(strings.ToLower(text))
		if err != nil || !strings.HasPrefix(strings.ToLower(text), "iot:") && text != "*" {
			return s, fmt.Errorf("the action %q is none of AWS IoT's, which begin with \"iot:\"", text)
		}
		s.actions = append(s.actions, a)
	}
	for _, text := range raw.Resource {
		r, err := parsePattern(text)
		if err != nil {
			return s, fmt.Errorf("the resource %q: %w", text, err)
		}
		s.resources = append(s.resources, r)
	}
	for operator, keys := range raw.Condition {
		for key, values := range keys {
			if operator != "Bool" || key != attachedKey || len(values) != 1 || values[0] != "true" && values[0] != "false" {
				return s, fmt.Errorf("the condition %s %s is not one that this look-alike knows; it knows Bool %s with true or false",
					operator, key, attachedKey)
			}
			s.attached = values[0]
		}
	}
	return s, nil
}

// Allows reports whether the subject may do action to a resource, such as topic/dt/gnomon/camera-7/status: a
// statement must allow it and none may deny it.
func (p *Policy) Allows(who Subject, action, resource string) bool {
	action, resource = strings.ToLower(action), p.arn+resource
	allowed := false
	for i := range p.statements {
		s := &p.statements[i]
		if !s.applies(who, action, resource) {
			continue
		}
		if s.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s *statement) applies(who Subject, action, resource string) bool {
	if s.attached != "" && (s.attached == "true") != who.attached() {
		return false
	}
	return matchAny(s.actions, action, who) && matchAny(s.resources, resource, who)
}

func matchAny(patterns []pattern, text string, who Subject) bool {
	for _, p := range patterns {
		if p.match(text, who.variable) {
			return true
		}
	}
	return false
}

// RotationTemplate is the provisioning template with which a device may order a new certificate for itself.
const RotationTemplate = "gnomon-rotate"

// orders are the topics on which a certificate is ordered.
func orders(template string) []string {
	return []string{certificatesPrefix + "create-from-csr/json", templatesPrefix + template + "/provision/json"}
}

// ClaimPolicy is the document that AWS recommends for claim certificates: it lets its owner order a certificate of its
// own with one template, and nothing else.
func ClaimPolicy(region, account, template string) []byte {
	arn := "arn:aws:iot:" + region + ":" + account + ":"
	type entry struct {
		Effect, Action string
		Resource       []string
	}
	request := orders(template)
	under := func(kind, end string) []string {
		return []string{arn + kind + "/" + request[0] + end, arn + kind + "/" + request[1] + end}
	}
	document, _ := json.Marshal(map[string]any{"Version": policyVersion, "Statement": []entry{
		{"Allow", ActionConnect, []string{arn + "client/*"}},
		{"Allow", ActionPublish, under("topic", "")},
		{"Allow", ActionReceive, under("topic", "/*")},
		{"Allow", ActionSubscribe, under("topicfilter", "/*")},
	}}) // strings only: it cannot fail
	return document
}

// DefaultPolicy is the document that AWS recommends for things whose certificate is attached to them, for gnomon's
// topics: each device has its own, and nobody else's. A thing may take any role alias, and order a new certificate with
// the template RotationTemplate.
func DefaultPolicy(region, account string) []byte {
	const thing = "${iot:Connection.Thing.ThingName}"
	arn := "arn:aws:iot:" + region + ":" + account + ":"
	type entry struct {
		Effect           string
		Action, Resource []string
		Condition        map[string]map[string]string `json:",omitempty"`
	}
	own := []string{"dt/gnomon/" + thing + "/*", "$aws/things/" + thing + "/shadow/*"}
	order := orders(RotationTemplate)
	answers := []string{order[0] + "/*", order[1] + "/*"}
	under := func(kind string, topics ...string) (resources []string) {
		for _, t := range topics {
			resources = append(resources, arn+kind+"/"+t)
		}
		return resources
	}
	document, _ := json.Marshal(map[string]any{"Version": policyVersion, "Statement": []entry{
		{
			"Allow",
			[]string{ActionConnect},
			under("client", thing),
			map[string]map[string]string{"Bool": {attachedKey: "true"}},
		},
		{"Allow", []string{ActionPublish}, under("topic", append(append(own, order...), "$aws/rules/*/dt/gnomon/"+thing+"/*")...), nil},
		{"Allow", []string{ActionRetainPublish}, under("topic", own[0]), nil},
		{"Allow", []string{ActionReceive}, under("topic", append(own, answers...)...), nil},
		{"Allow", []string{ActionSubscribe}, under("topicfilter", append(own, answers...)...), nil},
		{"Allow", []string{ActionAssumeRole}, under("rolealias", "*"), nil},
	}}) // strings only: it cannot fail
	return document
}
