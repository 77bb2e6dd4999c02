package provision

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRejectedWords(t *testing.T) {
	for _, tt := range []struct {
		payload   string
		want      string
		temporary bool
	}{
		{`{"statusCode":429,"errorCode":"Throttled","errorMessage":"Rate exceeded"}`, "tried again later", true},
		{`{"statusCode":500,"errorCode":"InternalServerError","errorMessage":"x"}`, "tried again later", true},
		{`{"statusCode":400,"errorCode":"InvalidCertificateOwnershipToken","errorMessage":"Certificate ownership token cannot be empty."}`, "has to be ordered", false},
		{`{"statusCode":400,"errorCode":"InvalidParameters","errorMessage":"Cannot resolve reference value: AWS::Region"}`, "--parameter AWS::Region=VALUE", false},
		{`{"statusCode":400,"errorCode":"InvalidCertificateSigningRequest","errorMessage":"x"}`, "delete it", false},
		{`{"statusCode":404,"errorCode":"ResourceNotFound","errorMessage":"x"}`, "name of the template", false},
		{`{"statusCode":403,"errorCode":"AccessDenied","errorMessage":"` + strings.Repeat("x", 4000) + `"}`, "hook", false},
		{`{}`, "check the template", false},
		{`<html>`, "can't be read", false},
	} {
		err := rejected([]byte(tt.payload))
		if !strings.Contains(err.Error(), tt.want) || temporary(err) != tt.temporary || len(err.Error()) > 2*maxMessage {
			t.Errorf("%.80s: %.300v", tt.payload, err)
		}
	}
}

func TestConfig(t *testing.T) {
	text, err := Config(map[string]any{"mqtt.broker": "mqtts://h:8883", "aws.region": "eu-central-1", "aws.parameters.path": "/a: b", "shadow.enabled": true})
	want := "aws:\n  parameters:\n    path: \"/a: b\"\n  region: \"eu-central-1\"\nmqtt:\n  broker: \"mqtts://h:8883\"\nshadow:\n  enabled: true\n"
	if err != nil || !strings.HasSuffix(string(text), want) {
		t.Errorf("%s, %v", text, err)
	}
	path := filepath.Join(t.TempDir(), "a", "gnomon.yaml")
	bad := errors.New("bad")
	if err := WriteConfig(path, text, func(string) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("checked: %v", err)
	}
	good := func(trial string) error { _, err := os.ReadFile(trial); return err }
	if err := WriteConfig(path, text, good); err != nil {
		t.Fatal(err)
	}
	if err := WriteConfig(path, []byte("x"), good); !errors.Is(err, ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != string(text) {
		t.Errorf("written: %q", data)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestHostileAnswers: nothing that the other side may say does harm.
func TestHostileAnswers(t *testing.T) {
	for _, answer := range []string{``, `{}`, `[]`, `{"certificateId":1}`, `{"certificateId":"a","certificatePem":"b"}`} {
		c := &scripted{answer: answer}
		if _, err := Request(t.Context(), c, nil); err == nil {
			t.Errorf("%q is taken for a certificate", answer)
		}
		if _, err := Register(t.Context(), c, "t", "x", nil); err == nil {
			t.Errorf("%q is taken for a thing", answer)
		}
	}
	c := &scripted{answer: `{"certificateId":"a","certificatePem":"b","certificateOwnershipToken":"c","thingName":"other"}`}
	if _, err := Order(t.Context(), c, "t", "mine", nil, nil); err == nil || !strings.Contains(err.Error(), "not to") {
		t.Errorf("attached to another thing: %v", err)
	}
	if !json.Valid(c.asked) {
		t.Errorf("asked %q", c.asked)
	}
}

// scripted answers everything in the same way, twice.
type scripted struct {
	answer string
	asked  []byte
	tell   func(string, []byte)
}

func (s *scripted) Subscribe(_ context.Context, _ []string, handler func(string, []byte)) error {
	s.tell = handler
	return nil
}

func (s *scripted) Publish(_ context.Context, topic string, payload []byte) error {
	s.asked = payload
	s.tell(topic+"/accepted", []byte(s.answer))
	s.tell(topic+"/accepted", []byte(s.answer))
	return nil
}
