package provisioning

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	s := scope{"A": "1", "B": "2"}
	for _, tt := range []struct{ value, want, err string }{
		{`"plain"`, "plain", ""},
		{`{"Ref":"A"}`, "1", ""},
		{`{"Fn::Join":["-",["x",{"Ref":"A"},{"Fn::Sub":"${A}${B}"}]]}`, "x-1-12", ""},
		{`{"Fn::Select":["1",["x",{"Ref":"B"}]]}`, "2", ""},
		{`{"Ref":"C"}`, "", "Cannot resolve reference value: C"},
		{`{"Fn::Sub":"${C}"}`, "", "Cannot resolve reference value: C"},
		{`{"Fn::Sub":"${A"}`, "", "Cannot resolve"},
		{`{"Fn::Select":["2",["x"]]}`, "", "no part"},
		{`{"Fn::Join":["-"]}`, "", "a text and a list"},
		{`{"Fn::Split":["-","a"]}`, "", "not one that this look-alike knows"},
		{`{"Ref":"A","Fn::Sub":"x"}`, "", "one function"},
		{`7`, "", "neither"},
	} {
		got, err := s.text(json.RawMessage(tt.value))
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %q, %v", tt.value, got, err)
		}
	}
}

func TestPlan(t *testing.T) {
	body, err := parseTemplate([]byte(`{
		"Parameters": {"N": {"Type": "String"}, "M": {"Type": "String", "Default": "none"}, "AWS::IoT::Certificate::Id": {"Type": "String"}},
		"Resources": {
			"t": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Fn::Sub": "cam-${N}"}, "AttributePayload": {"m": {"Ref": "M"}}, "ThingTypeName": "camera", "ThingGroups": ["v1"]}},
			"c": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Inactive"}},
			"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": "{\"Version\":\"2012-10-17\"}"}}},
		"DeviceConfiguration": {"a": {"Ref": "AWS::IoT::Certificate::Id"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := body.plan(map[string]string{"N": "7", "other": "x", "AWS::IoT::Certificate::Id": "forged"}, "id")
	if err != nil || p.thing != "cam-7" || p.attributes["m"] != "none" || p.thingType != "camera" || len(p.groups) != 1 || p.active ||
		string(p.policy) != `{"Version":"2012-10-17"}` || p.configuration["a"] != "id" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := body.plan(map[string]string{"other": "x"}, "id"); err == nil || !strings.Contains(err.Error(), "reference value: N") {
		t.Errorf("without a parameter: %v", err)
	}
	if _, err := body.plan(map[string]string{"N": "a b"}, "id"); err == nil {
		t.Error("a thing of a name that AWS does not take")
	}
}
