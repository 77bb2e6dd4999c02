package iot

import (
	"fmt"
	"strings"
	"testing"
)

const region, account = "eu-central-1", "000000000000"

func TestDefaultPolicy(t *testing.T) {
	p, err := ParsePolicy(DefaultPolicy(region, account), region, account)
	if err != nil {
		t.Fatal(err)
	}
	own := Subject{ClientID: "cam", CommonName: "cam", Thing: "cam"}
	other := Subject{ClientID: "x", CommonName: "cam", Thing: "cam"} // another client id: the thing's name is unknown
	https := Subject{CommonName: "cam", Thing: "cam"}
	for _, test := range []struct {
		who              Subject
		action, resource string
		want             bool
	}{
		{own, ActionConnect, "client/cam", true},
		{own, ActionConnect, "client/cam2", false},
		{other, ActionConnect, "client/x", false},
		{other, ActionConnect, "client/cam", false},
		{own, ActionPublish, "topic/dt/gnomon/cam/status", true},
		{own, "IOT:publish", "topic/dt/gnomon/cam/a/b", true},
		{own, ActionPublish, "topic/dt/gnomon/cam", false},
		{own, ActionPublish, "topic/dt/gnomon/cam2/status", false},
		{own, ActionPublish, "topicfilter/dt/gnomon/cam/status", false},
		{own, ActionPublish, "topic/$aws/things/cam/shadow/name/config/update", true},
		{own, ActionPublish, "topic/$aws/rules/detections/dt/gnomon/cam/x", true},
		{own, ActionPublish, "topic/$aws/rules/detections/dt/gnomon/cam2/x", false},
		{own, ActionReceive, "topic/$aws/rules/detections/dt/gnomon/cam/x", false},
		{own, ActionRetainPublish, "topic/dt/gnomon/cam/status", true},
		{own, ActionRetainPublish, "topic/$aws/things/cam/shadow/get", false},
		{own, ActionSubscribe, "topicfilter/dt/gnomon/cam/#", true},
		{own, ActionSubscribe, "topicfilter/dt/gnomon/+/status", false},
		{own, ActionSubscribe, "topicfilter/#", false},
		{https, ActionAssumeRole, "rolealias/gnomon-device", true},
		{own, "iot:DeleteThing", "thing/cam", false},
	} {
		if got := p.Allows(test.who, test.action, test.resource); got != test.want {
			t.Errorf("%+v %s %s: %v", test.who, test.action, test.resource, got)
		}
	}
	elsewhere, err := ParsePolicy(DefaultPolicy("us-east-1", account), region, account)
	if err != nil || elsewhere.Allows(own, ActionConnect, "client/cam") {
		t.Errorf("a policy for another region allows: %v", err)
	}
}

func document(statements string) []byte {
	return []byte(`{"Version":"2012-10-17","Statement":` + statements + `}`)
}

func TestPolicyLanguage(t *testing.T) {
	const allow = `{"Effect":"Allow","Action":"iot:*","Resource":"*"}`
	for _, test := range []struct {
		name, statements, resource string
		who                        Subject
		want                       bool
	}{
		{"one statement", allow, "topic/a", Subject{}, true},
		{"deny wins", `[` + allow + `,{"Effect":"Deny","Action":["iot:Publish"],"Resource":["*:topic/a"]}]`, "topic/a", Subject{}, false},
		{"deny of another", `[` + allow + `,{"Effect":"Deny","Action":["iot:Publish"],"Resource":["*:topic/a"]}]`, "topic/ab", Subject{}, true},
		{"question mark", `{"Effect":"Allow","Action":"iot:P?blish","Resource":"*/a?c"}`, "topic/abc", Subject{}, true},
		{"question mark needs one", `{"Effect":"Allow","Action":"iot:Publish","Resource":"*/a?"}`, "topic/a", Subject{}, false},
		{"star goes back", `{"Effect":"Allow","Action":"*","Resource":"*a*b/c"}`, "topic/aab/ab/c", Subject{}, true},
		{"star must reach the end", `{"Effect":"Allow","Action":"*","Resource":"*a"}`, "topic/ab", Subject{}, false},
		{"escaped star", `{"Effect":"Allow","Action":"*","Resource":"*/${*}"}`, "topic/x", Subject{}, false},
		{"MQTT wildcard is text", `{"Effect":"Allow","Action":"*","Resource":"*topic/+"}`, "topic/x", Subject{}, false},
		{"variable", `{"Effect":"Allow","Action":"*","Resource":"*/${iot:ClientId}/x"}`, "topic/me/x", Subject{ClientID: "me"}, true},
		{"variable is no pattern", `{"Effect":"Allow","Action":"*","Resource":"*topic/${iot:ClientId}/x"}`, "topic/you/x", Subject{ClientID: "*"}, false},
		{"variable without value", `{"Effect":"Allow","Action":"*","Resource":"*topic/${iot:ClientId}/x"}`, "topic//x", Subject{}, false},
		{"common name", `{"Effect":"Allow","Action":"*","Resource":"*/${iot:Certificate.Subject.CommonName}"}`, "topic/c", Subject{CommonName: "c"}, true},
		{"not attached", `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"iot:Connection.Thing.IsAttached":["true"]}}}`, "topic/c", Subject{ClientID: "c", Thing: "d"}, false},
	} {
		p, err := ParsePolicy(document(test.statements), region, account)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if got := p.Allows(test.who, ActionPublish, test.resource); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestPolicyRefused(t *testing.T) {
	for _, test := range []struct{ document, want string }{
		{`{`, "not JSON"},
		{`{"Version":"2008-10-17","Statement":[]}`, "2012-10-17"},
		{`{"Version":"2012-10-17","Statement":[]}`, "no Statement"},
		{`{"Version":"2012-10-17","Statment":[]}`, "does not know"},
		{string(document(`{"Effect":"allow","Action":"*","Resource":"*"}`)), "Allow or Deny"},
		{string(document(`{"Effect":"Allow","Action":"s3:Get","Resource":"*"}`)), "none of AWS IoT's"},
		{string(document(`{"Effect":"Allow","Action":"*","NotResource":"*"}`)), "does not know"},
		{string(document(`{"Effect":"Allow","Action":"*"}`)), "no Action or no Resource"},
		{string(document(`{"Effect":"Allow","Action":"*","Resource":"${aws:username}"}`)), "is not one that"},
		{string(document(`{"Effect":"Allow","Action":"*","Resource":"${iot"}`)), "closing brace"},
		{string(document(`{"Effect":"Allow","Action":"*","Resource":"` + strings.Repeat("*a", 40) + `"}`)), "too many"},
		{string(document(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"1"}}}`)), "IpAddress"},
		{string(document(fmt.Sprintf(`{"Effect":"Allow","Action":"*","Resource":%q}`, strings.Repeat("a", 2048)))), "2048"},
	} {
		if _, err := ParsePolicy([]byte(test.document), region, account); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.90s: %v, want %q", test.document, err, test.want)
		}
	}
}
