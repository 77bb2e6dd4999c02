// Package provision gets a device its certificate and its name from AWS IoT's fleet provisioning: the device makes a key,
// which never leaves it, has a certificate made for it, and takes up an identity with a provisioning template (AWS IoT
// Core developer guide, "Device provisioning MQTT API").
package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	createTopic     = "$aws/certificates/create-from-csr/json"
	templatesPrefix = "$aws/provisioning-templates/"

	// answerTimeout is how long the service may take: its hook alone has 5 s.
	answerTimeout = 60 * time.Second
	// maxMessage is what is kept of an error's text.
	maxMessage = 500
)

// Conn is an MQTT connection: telemetry's, or link's.
type Conn interface {
	// Subscribe returns after SUBACK; the handler must not wait.
	Subscribe(ctx context.Context, filters []string, handler func(topic string, payload []byte)) error
	// Publish sends at QoS 1.
	Publish(ctx context.Context, topic string, payload []byte) error
}

// Issued is a certificate that the service has made and that waits to be claimed, for an hour, with its token.
type Issued struct {
	ID    string `json:"certificateId"`
	PEM   string `json:"certificatePem"`
	Token string `json:"certificateOwnershipToken"`
}

// Registered is what a template made of the device.
type Registered struct {
	Thing string `json:"thingName"`
	// Configuration is the template's DeviceConfiguration.
	Configuration map[string]string `json:"deviceConfiguration"`
}

// Request has a certificate made for a certificate signing request in PEM.
func Request(ctx context.Context, c Conn, csrPEM []byte) (Issued, error) {
	got := Issued{}
	err := exchange(ctx, c, createTopic, map[string]string{"certificateSigningRequest": string(csrPEM)}, &got)
	if err == nil && (got.ID == "" || got.PEM == "" || got.Token == "") {
		err = errors.New("the answer lacks the certificate or its token: check that the endpoint is AWS IoT's")
	}
	if err != nil {
		return Issued{}, fmt.Errorf("ask for a certificate: %w", err)
	}
	return got, nil
}

// Register claims a certificate with its token: the template makes a thing of the device, or attaches the certificate to
// the one that there is.
func Register(ctx context.Context, c Conn, template, token string, parameters map[string]string) (Registered, error) {
	got := Registered{}
	err := exchange(ctx, c, templatesPrefix+template+"/provision/json",
		map[string]any{"certificateOwnershipToken": token, "parameters": parameters}, &got)
	if err == nil && got.Thing == "" {
		err = fmt.Errorf("the template %s made no thing: give it a resource of the type AWS::IoT::Thing", template)
	}
	if err != nil {
		return Registered{}, fmt.Errorf("provision with the template %s: %w", template, err)
	}
	return got, nil
}

// Order gets a further certificate for a thing, with a template that attaches it: for rotation. The parameter ThingName
// is added.
func Order(ctx context.Context, c Conn, template, thing string, parameters map[string]string, csrPEM []byte) (certPEM []byte, err error) {
	issued, err := Request(ctx, c, csrPEM)
	if err != nil {
		return nil, err
	}
	all := map[string]string{"ThingName": thing}
	for k, v := range parameters {
		all[k] = v
	}
	got, err := Register(ctx, c, template, issued.Token, all)
	if err != nil {
		return nil, err
	}
	if got.Thing != thing {
		return nil, fmt.Errorf("the template %s attached the new certificate to the thing %q, not to %q: let its ThingName "+
			"be the parameter ThingName", template, got.Thing, thing)
	}
	return []byte(issued.PEM), nil
}

// exchange asks a question and reads the answer.
func exchange(ctx context.Context, c Conn, topic string, question, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	data, err := json.Marshal(question)
	if err != nil {
		return err
	}
	type message struct {
		accepted bool
		payload  []byte
	}
	got := make(chan message, 1) // a second answer is nobody's
	if err := c.Subscribe(ctx, []string{topic + "/accepted", topic + "/rejected"}, func(t string, payload []byte) {
		select {
		case got <- message{strings.HasSuffix(t, "/accepted"), payload}:
		default:
		}
	}); err != nil {
		return err
	}
	if err := c.Publish(ctx, topic, data); err != nil {
		return err
	}
	ended := make(<-chan struct{})
	if d, ok := c.(interface{ Done() <-chan struct{} }); ok {
		ended = d.Done()
	}
	select {
	case m := <-got:
		if !m.accepted {
			return rejected(m.payload)
		}
		if err := json.Unmarshal(m.payload, answer); err != nil {
			return fmt.Errorf("the service's answer can't be read: %w", err)
		}
		return nil
	case <-ended:
		return &LostError{"the connection ended before the answer came"}
	case <-ctx.Done():
		return &LostError{"no answer came in time"}
	}
}

// LostError is a question whose answer did not come: it may have been answered or not.
type LostError struct{ text string }

func (e *LostError) Error() string {
	return e.text + ": check that the certificate's policy allows iot:Publish and iot:Receive on the provisioning topics"
}

// Temporary reports that it is worth another try.
func (*LostError) Temporary() bool { return true }

// RejectedError is the service's refusal.
type RejectedError struct {
	Status  int    // as in HTTP
	Code    string // such as InvalidParameters
	Message string
	Fix     string // what to do
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("AWS IoT answers %d %s %q: %s", e.Status, e.Code, e.Message, e.Fix)
}

// Temporary reports whether it may pass without anybody changing anything.
func (e *RejectedError) Temporary() bool { return e.Status == 429 || e.Status >= 500 }

// badToken reports whether the certificate has to be ordered anew.
func (e *RejectedError) badToken() bool {
	return strings.Contains(strings.ToLower(e.Code+e.Message), "ownershiptoken") ||
		strings.Contains(strings.ToLower(e.Message), "ownership token")
}

// rejected reads an answer on …/rejected.
func rejected(payload []byte) error {
	in := struct {
		Status  int    `json:"statusCode"`
		Code    string `json:"errorCode"`
		Message string `json:"errorMessage"`
	}{}
	if err := json.Unmarshal(payload, &in); err != nil {
		return fmt.Errorf("the service refuses, and its answer can't be read: %w", err)
	}
	if len(in.Message) > maxMessage {
		in.Message = strings.ToValidUTF8(in.Message[:maxMessage], "")
	}
	e := &RejectedError{Status: in.Status, Code: in.Code, Message: in.Message}
	e.Fix = e.fix()
	return e
}

func (e *RejectedError) fix() string {
	text := strings.ToLower(e.Code + " " + e.Message)
	has := func(s string) bool { return strings.Contains(text, s) }
	_, reference, isReference := strings.Cut(e.Message, "Cannot resolve reference value: ")
	switch {
	case e.Temporary():
		return "it is tried again later"
	case e.badToken():
		return "its hour is over, or it was used before; a new certificate has to be ordered"
	case isReference:
		return fmt.Sprintf("the template wants the parameter %[1]s: give it with --parameter %[1]s=VALUE, or a Default in the template", reference)
	case e.Status == 404 || has("not found"):
		return "check the name of the template, that it exists and is enabled in this account and region, and that the policy it names exists"
	case has("signingrequest"):
		return "the device's key may be damaged: delete it, and a new one is made"
	case e.Status == 401 || e.Status == 403:
		return "check the policy of the certificate, the template's provisioning role and its pre-provisioning hook, which " +
			"refuses what it doesn't know: perhaps this serial number"
	case has("parameter"):
		return "check the parameters against those of the template"
	}
	return "check the template, its role and its policy"
}
