package aws

import (
	"encoding/json"
	"strings"
	"testing"

	"gnomon/devcloud/iot"
	"gnomon/telemetry"
)

// policy is one of the template's AWS IoT policies, read by devcloud's own reader of the policy language.
func (s *stack) policy(name string) *iot.Policy {
	s.t.Helper()
	p, err := iot.ParsePolicy(s.document(name, "PolicyDocument"), region, account)
	if err != nil {
		s.t.Fatalf("%s: %v", name, err)
	}
	return p
}

// request is an action on a resource, such as topic/dt/gnomon/gnomon-a/status.
type request struct{ action, resource string }

// agentRequests is all that the agent of a thing asks for: with topics as telemetry makes them, the shadow's as the
// package shadow has them, and those of a new certificate. Each is tried.
func agentRequests(t *testing.T, thing string) (list []request) {
	t.Helper()
	topics := []string{"dt/gnomon/" + thing + "/events", "dt/gnomon/" + thing + "/metrics", "dt/gnomon/" + thing + "/logs"}
	detections, err := telemetry.DetectionsTopic("dt/gnomon", thing, "street")
	if err != nil {
		t.Fatal(err)
	}
	status, err := telemetry.StatusTopic("dt/gnomon", thing)
	if err != nil {
		t.Fatal(err)
	}
	add := func(action, kind string, topics ...string) {
		for _, topic := range topics {
			list = append(list, request{action, kind + "/" + topic})
		}
	}
	add(iot.ActionConnect, "client", thing)
	add(iot.ActionAssumeRole, "rolealias", "gnomon-device")
	add(iot.ActionPublish, "topic", append(topics, detections, status)...)
	add(iot.ActionRetainPublish, "topic", status)
	add(
		iot.ActionPublish, "topic", "$aws/rules/gnomon_detections/"+detections, "$aws/rules/gnomon_events/"+topics[0],
		"$aws/rules/gnomon_metrics/"+topics[1], "$aws/rules/gnomon_logs/"+topics[2],
	)
	for _, shadow := range []string{"$aws/things/" + thing + "/shadow/", "$aws/things/" + thing + "/shadow/name/gnomon/"} {
		add(iot.ActionPublish, "topic", shadow+"get", shadow+"update")
		for _, answer := range []string{
			"get/accepted", "get/rejected", "update/accepted", "update/rejected", "update/delta", "delete/accepted",
		} {
			add(iot.ActionSubscribe, "topicfilter", shadow+answer)
			add(iot.ActionReceive, "topic", shadow+answer)
		}
	}
	return append(list, certificateRequests("gnomon-rotate")...)
}

// certificateRequests is what asking for a certificate with a template takes.
func certificateRequests(template string) (list []request) {
	for _, topic := range []string{"$aws/certificates/create-from-csr/json", "$aws/provisioning-templates/" + template + "/provision/json"} {
		list = append(list, request{iot.ActionPublish, "topic/" + topic})
		for _, answer := range []string{"/accepted", "/rejected"} {
			list = append(list, request{iot.ActionSubscribe, "topicfilter/" + topic + answer}, request{iot.ActionReceive, "topic/" + topic + answer})
		}
	}
	return list
}

// TestDevicePolicy: a device may do what the agent does, as itself and for itself only.
func TestDevicePolicy(t *testing.T) {
	s := openStack(t, nil)
	d := s.policy("DevicePolicy")
	a := iot.Subject{ClientID: "gnomon-a", CommonName: "AWS IoT Certificate", Thing: "gnomon-a"}
	renamed, detached := a, a
	renamed.ClientID, detached.Thing = "gnomon-b", ""
	shared := map[string]bool{} // topics without a thing's name in them
	for _, r := range certificateRequests("gnomon-rotate") {
		shared[r.resource] = true
	}
	alias := request{iot.ActionAssumeRole, "rolealias/gnomon-device"}
	for _, r := range agentRequests(t, "gnomon-a") {
		if !d.Allows(a, r.action, r.resource) {
			t.Errorf("the agent needs %v, and the policy refuses it", r)
		}
		if shared[r.resource] || r == alias {
			continue
		}
		// The same request for everybody else's things, and of everybody else.
		for _, other := range []string{"gnomon-b", "gnomon-a2", "gnomon", "+", "#", "*", ""} {
			if for2 := strings.ReplaceAll(r.resource, "gnomon-a", other); d.Allows(a, r.action, for2) {
				t.Errorf("gnomon-a may %s %s", r.action, for2)
			}
		}
		if d.Allows(renamed, r.action, r.resource) || d.Allows(detached, r.action, r.resource) {
			t.Errorf("%v with another client id, or with a certificate of no thing", r)
		}
	}
	for _, r := range []request{
		{iot.ActionSubscribe, "topicfilter/#"},
		{iot.ActionSubscribe, "topicfilter/dt/#"},
		{iot.ActionSubscribe, "topicfilter/dt/gnomon/#"},
		{iot.ActionSubscribe, "topicfilter/dt/gnomon/+/status"},
		{iot.ActionSubscribe, "topicfilter/$aws/things/+/shadow/#"},
		{iot.ActionSubscribe, "topicfilter/$aws/events/#"},
		{iot.ActionSubscribe, "topicfilter/$aws/things/gnomon-b/jobs/notify"},
		{iot.ActionReceive, "topic/$aws/things/gnomon-b/jobs/notify"},
		{iot.ActionPublish, "topic/$aws/things/gnomon-b/jobs/1/update"},
		{iot.ActionPublish, "topic/$aws/rules/gnomon_detections/dt/gnomon/gnomon-b/street/detections"},
		{iot.ActionPublish, "topic/$aws/rules/other/dt/gnomon/gnomon-a/street/detections"},
		{iot.ActionRetainPublish, "topic/dt/gnomon/gnomon-a/street/detections"},
		{iot.ActionPublish, "topic/$aws/certificates/create/json"}, // would hand out a private key
		{iot.ActionPublish, "topic/$aws/provisioning-templates/gnomon-fleet/provision/json"},
		{iot.ActionAssumeRole, "rolealias/admin"},
		{"iot:UpdateThingShadow", "thing/gnomon-b"},
	} {
		if d.Allows(a, r.action, r.resource) {
			t.Errorf("gnomon-a may %s %s", r.action, r.resource)
		}
	}
}

// TestClaimPolicy: a claim certificate is good for provisioning and for nothing else.
func TestClaimPolicy(t *testing.T) {
	claim := openStack(t, nil).policy("ClaimPolicy")
	who := iot.Subject{ClientID: "gnomon-provision-x7", CommonName: "AWS IoT Certificate"}
	for _, r := range append(certificateRequests("gnomon-fleet"), request{iot.ActionConnect, "client/gnomon-provision-x7"}) {
		if !claim.Allows(who, r.action, r.resource) {
			t.Errorf("provisioning needs %v, and the policy refuses it", r)
		}
	}
	shared := map[request]bool{}
	for _, r := range certificateRequests("gnomon-fleet") {
		shared[r] = true
	}
	// Not even with the client id of a device does it get what is a device's.
	for _, id := range []string{"gnomon-provision-x7", "gnomon-a"} {
		who.ClientID = id
		for _, r := range agentRequests(t, "gnomon-a") {
			if !shared[r] && claim.Allows(who, r.action, r.resource) {
				t.Errorf("a claim as %s may %s %s", id, r.action, r.resource)
			}
		}
	}
	for _, resource := range []string{"topicfilter/#", "topicfilter/$aws/#", "topicfilter/$aws/provisioning-templates/#"} {
		if claim.Allows(who, iot.ActionSubscribe, resource) {
			t.Errorf("a claim may subscribe to %s", resource)
		}
	}
}

// TestPolicySizes: AWS takes 2048 characters, with the longest names as well.
func TestPolicySizes(t *testing.T) {
	s := openStack(t, map[string]any{"Name": strings.Repeat("n", 12), "AWS::Region": "ap-northeast-1"})
	for _, name := range s.names("AWS::IoT::Policy") {
		text := s.document(name, "PolicyDocument")
		if len(text) > 2048 {
			t.Errorf("%s has %d characters, %d more than AWS takes", name, len(text), len(text)-2048)
		}
		t.Logf("%s: %d of 2048 characters", name, len(text))
	}
}

// TestPolicyWildcards: a * stands behind the thing's name, or where AWS puts /accepted and /rejected.
func TestPolicyWildcards(t *testing.T) {
	s := openStack(t, nil)
	for _, name := range s.names("AWS::IoT::Policy") {
		document := struct {
			Statement []struct {
				Effect           string
				Action, Resource any
			}
		}{}
		if err := json.Unmarshal(s.document(name, "PolicyDocument"), &document); err != nil {
			t.Fatal(err)
		}
		for _, statement := range document.Statement {
			for _, action := range strs(statement.Action) {
				if strings.Contains(action, "*") || statement.Effect != "Allow" {
					t.Errorf("%s: %+v", name, statement)
				}
			}
			for _, resource := range strs(statement.Resource) {
				before, _, found := strings.Cut(resource, "*")
				switch {
				case !found, strings.Contains(before, "${iot:Connection.Thing.ThingName}/"), strings.HasSuffix(resource, "/json*"):
				case name == "ClaimPolicy" && strings.HasSuffix(resource, ":client/gnomon-provision-*"): // no thing is called so
				default:
					t.Errorf("%s: the resource %s is more than one thing's", name, resource)
				}
			}
		}
	}
}
