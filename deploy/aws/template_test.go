package aws

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLint runs AWS's own linter: types, properties and their values, references, IAM actions.
func TestLint(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("cfn-lint")
	if err != nil {
		if os.Getenv("GNOMON_REQUIRE_CFN_LINT") == "1" {
			t.Fatal("cfn-lint is not installed, and GNOMON_REQUIRE_CFN_LINT=1 says that it must be: pip install cfn-lint")
		}
		t.Skip("cfn-lint is not installed; it is a Python package: pip install cfn-lint")
	}
	// Beside it a wrong template, as a linter that finds nothing must be one that would.
	data, err := os.ReadFile("gnomon.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	right, wrong := filepath.Join(dir, "right.yaml"), filepath.Join(dir, "wrong.yaml")
	mistakes := strings.NewReplacer("  ThingTypeName: !Ref Name", "  ThingTypName: !Ref Name", "ecr:BatchGetImage", "ecr:BatchGetImages",
		"!GetAtt DeviceRole.Arn", "!GetAtt DeviceRole.Name")
	for file, text := range map[string]string{right: string(data), wrong: mistakes.Replace(string(data))} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), path, "--format", "parseable", "--include-checks", "I", "--regions", region, "--template", right, wrong)
	out, _ := cmd.CombinedOutput() // it fails because of the wrong one
	found := strings.ToLower(string(out))
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, wrong+":") {
			t.Errorf("cfn-lint: %s", line)
		}
	}
	for _, want := range []string{"thingtypname", "batchgetimages", ":e1010:"} {
		if !strings.Contains(found, want) {
			t.Errorf("cfn-lint says nothing about %s in a wrong template:\n%s", want, out)
		}
	}
}

// variants are values of the parameters with which every branch of the template is resolved.
func variants() []map[string]any {
	return []map[string]any{
		nil,
		{
			"Name": "fleet12", "StreamMode": "PROVISIONED", "CloudWatchMetrics": "true",
			"SettingsKeyArn": "arn:aws:kms:eu-central-1:000000000000:key/0a",
		},
	}
}

// TestReferences: everything that is referred to exists, and what exists is referred to.
func TestReferences(t *testing.T) {
	used := map[string]bool{}
	for _, parameters := range variants() {
		s := openStack(t, parameters)
		s.used = used
		for name, r := range s.section("Resources") {
			s.resolve(r.(object)["Properties"])
			if condition, ok := r.(object)["Condition"].(string); ok {
				s.condition(condition)
			}
			for _, other := range after(r.(object)["DependsOn"]) {
				if s.section("Resources")[other] == nil {
					t.Errorf("%s depends on %s, which does not exist", name, other)
				}
			}
		}
		s.resolve(s.root["Outputs"])
	}
	s := openStack(t, nil)
	for _, section := range []string{"Parameters", "Conditions"} {
		for name := range s.section(section) {
			if !used[name] {
				t.Errorf("nothing uses %s of the %s", name, section)
			}
		}
	}
}

func after(dependsOn any) (names []string) {
	switch d := dependsOn.(type) {
	case string:
		return []string{d}
	case []any:
		for _, name := range d {
			names = append(names, name.(string))
		}
	}
	return names
}

// TestWildcards: each * in a resource of an IAM policy is one of these, and has its reason.
func TestWildcards(t *testing.T) {
	const iot = "arn:aws:iot:eu-central-1:000000000000:"
	reasons := map[string]string{
		"arn:aws:s3:eu-central-1:000000000000:made-modelsbucket/models/*": "models have names of their makers' choice",
		"arn:aws:s3:eu-central-1:000000000000:made-modelsbucket/*":        "a Deny",
		"arn:aws:ssm:eu-central-1:000000000000:parameter/gnomon/fleet/*":  "settings are added",
		iot + "thing/gnomon-*": "things are named after serial numbers",
		iot + "cert/*":         "certificates are named after their digest",
	}
	// The calls that have no resource (Service Authorization Reference).
	resourceless := []string{"ecr:GetAuthorizationToken", "iot:RegisterThing", "iot:AttachThingPrincipal", "iot:ListPrincipalThings"}
	s, found := openStack(t, nil), map[string]bool{}
	for _, statement := range s.iamStatements() {
		for _, action := range strs(statement["Action"]) {
			if strings.Contains(action, "*") && statement["Effect"] != "Deny" {
				t.Errorf("the action %s is more than one", action)
			}
		}
		for _, resource := range strs(statement["Resource"]) {
			found[resource] = true
			if resource == "*" {
				for _, action := range strs(statement["Action"]) {
					if !slices.Contains(resourceless, action) {
						t.Errorf("%s is allowed on everything", action)
					}
				}
			} else if strings.ContainsAny(resource, "*?") && reasons[resource] == "" {
				t.Errorf("the resource %s is more than one, and nothing says why", resource)
			}
		}
	}
	for resource := range reasons {
		if !found[resource] {
			t.Errorf("no policy has %s any more", resource)
		}
	}
}

// iamStatements are those of all roles and of the bucket.
func (s *stack) iamStatements() (statements []object) {
	documents := []any{}
	for _, name := range s.names("AWS::IAM::Role") {
		if policies, ok := s.properties(name)["Policies"].([]any); ok {
			for _, p := range policies {
				documents = append(documents, p.(object)["PolicyDocument"])
			}
		}
	}
	for _, kind := range []string{"AWS::IAM::RolePolicy", "AWS::S3::BucketPolicy"} {
		for _, name := range s.names(kind) {
			documents = append(documents, s.properties(name)["PolicyDocument"])
		}
	}
	for _, d := range documents {
		for _, statement := range d.(object)["Statement"].([]any) {
			statements = append(statements, statement.(object))
		}
	}
	if len(statements) < 10 {
		s.t.Fatalf("only %d statements were found", len(statements))
	}
	return statements
}

func strs(value any) (list []string) {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			list = append(list, item.(string))
		}
	}
	return list
}

// TestRules: each stream has a rule, which keeps the thing's records in order and says where it failed.
func TestRules(t *testing.T) {
	s := openStack(t, nil)
	want := map[string]string{
		"gnomon_detections": "dt/gnomon/+/+/detections", "gnomon_events": "dt/gnomon/+/events",
		"gnomon_metrics": "dt/gnomon/+/metrics", "gnomon_logs": "dt/gnomon/+/logs",
	}
	from := regexp.MustCompile(`^SELECT \*, topic\(3\) AS thing, topic\(\) AS topic, timestamp\(\) AS received_ms FROM '([^']+)'$`)
	for _, name := range s.names("AWS::IoT::TopicRule") {
		p := s.properties(name)
		rule, payload := p["RuleName"].(string), p["TopicRulePayload"].(object)
		sql := from.FindStringSubmatch(payload["Sql"].(string))
		if sql == nil || sql[1] != want[rule] {
			t.Errorf("%s: %v", rule, payload["Sql"])
		}
		delete(want, rule)
		actions := payload["Actions"].([]any)
		kinesis := actions[0].(object)["Kinesis"].(object)
		stream := strings.ReplaceAll(rule, "_", "-")
		if len(actions) != 1 || kinesis["StreamName"] != stream || kinesis["PartitionKey"] != "${topic(3)}" {
			t.Errorf("%s: %v", rule, actions)
		}
		if errors, _ := json.Marshal(payload["ErrorAction"]); !strings.Contains(string(errors), `"LogGroupName":"gnomon-rule-errors"`) {
			t.Errorf("%s: what becomes of failures? %s", rule, errors)
		}
	}
	if len(want) > 0 {
		t.Errorf("no rule for %v", want)
	}
	for _, name := range s.names("AWS::Kinesis::Stream") {
		if p := s.properties(name); p["StreamEncryption"] == nil || p["ShardCount"] != nil {
			t.Errorf("%s: %v", name, p)
		}
	}
	if actions := openStack(t, variants()[1]).properties("MetricsRule")["TopicRulePayload"].(object)["Actions"].([]any); len(actions) != 2 {
		t.Errorf("with CloudWatch the rule for metrics has %v", actions)
	}
}
