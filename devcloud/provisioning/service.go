// Package provisioning is a look-alike of AWS IoT's fleet provisioning: certificates made from signing requests over
// MQTT, and templates that make a thing of the device which has one (AWS IoT Core developer guide, "Device provisioning
// MQTT API" and "Provisioning templates"). It is for development only.
package provisioning

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	createTopic     = "$aws/certificates/create-from-csr/json"
	templatesPrefix = "$aws/provisioning-templates/"
	provisionEnd    = "/provision/json"

	// tokenLife is AWS's.
	tokenLife = time.Hour
	// maxPending is how many certificates may wait to be claimed: each is a line in a file that is written anew.
	maxPending = 1000
)

// Options configures New.
type Options struct {
	// Dir is where the register is kept.
	Dir string
	// Sign makes a certificate from a request whose signature is right.
	Sign func(*x509.CertificateRequest) (*x509.Certificate, error)
	// Templates are the bodies of the templates, by name.
	Templates map[string][]byte
	// HasPolicy reports whether there is a policy of that name; CheckPolicy refuses a document.
	HasPolicy   func(name string) bool
	CheckPolicy func(document []byte) error
	// Allow is asked before anything is done, as a template's pre-provisioning hook is: the client is the id of the MQTT
	// connection. nil: everything is allowed.
	Allow func(template, client string, parameters map[string]string) bool
	// Reply answers one client. It must not wait for it.
	Reply func(client, topic string, payload []byte)
	Log   *zap.Logger

	// Now is the time; nil: time.Now.
	Now func() time.Time
}

// Service answers requests for certificates and things. Its methods may be called from any goroutine.
type Service struct {
	opts      Options
	path      string
	templates map[string]*template

	mu       sync.Mutex
	register *register
}

// New reads the register and the templates.
func New(o Options) (*Service, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Service{opts: o, path: filepath.Join(o.Dir, "provisioning.json"), templates: map[string]*template{}}
	for name, body := range o.Templates {
		t, err := parseTemplate(body)
		if err != nil {
			return nil, fmt.Errorf("the provisioning template %s: %w", name, err)
		}
		s.templates[name] = t
	}
	var err error
	s.register, err = readRegister(s.path)
	return s, err
}

// rejection is an answer on a …/rejected topic, in AWS's form.
type rejection struct {
	Status  int    `json:"statusCode"`
	Code    string `json:"errorCode"`
	Message string `json:"errorMessage"`
}

func (r *rejection) Error() string { return r.Message }

// badParameters is the code for a template that can't be worked out with what the request has.
const badParameters = "InvalidParameters"

func invalid(code, message string) error { return &rejection{400, code, message} }

// Request takes a message that a client has published on one of the service's topics.
func (s *Service) Request(client, topic string, payload []byte) {
	var answer any
	var err error
	if topic == createTopic {
		answer, err = s.create(payload)
	} else {
		name := strings.TrimSuffix(strings.TrimPrefix(topic, templatesPrefix), provisionEnd)
		answer, err = s.provision(client, name, payload)
	}
	end := "/accepted"
	if err != nil {
		refused, ok := errors.AsType[*rejection](err)
		if !ok {
			s.opts.Log.Error("provisioning", zap.Error(err))
			refused = &rejection{500, "InternalServerError", "Internal server error"}
		}
		s.opts.Log.Warn("a provisioning request was rejected", zap.String("client", client), zap.String("topic", topic),
			zap.String("code", refused.Code), zap.String("message", refused.Message))
		answer, end = refused, "/rejected"
	}
	data, err := json.Marshal(answer)
	if err != nil {
		s.opts.Log.Error("provisioning", zap.Error(err))
		return
	}
	s.opts.Reply(client, topic+end, data)
}

func (s *Service) create(payload []byte) (any, error) {
	in := struct {
		Request string `json:"certificateSigningRequest"`
	}{}
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, invalid("InvalidPayload", "Invalid JSON payload")
	}
	block, _ := pem.Decode([]byte(in.Request))
	if block == nil {
		return nil, invalid("InvalidCertificateSigningRequest", "The certificate signing request is not PEM")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || request.CheckSignature() != nil {
		return nil, invalid("InvalidCertificateSigningRequest", "The certificate signing request is not valid")
	}
	cert, err := s.opts.Sign(request)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(cert.Raw)
	id, token := hex.EncodeToString(sum[:]), rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	s.register.forget(now)
	waiting := 0
	for _, c := range s.register.Certificates {
		if c.Status == pending {
			waiting++
		}
	}
	if waiting >= maxPending {
		return nil, &rejection{429, "Throttled", "Rate exceeded"}
	}
	s.register.Certificates[id] = &certificate{Status: pending, Token: token, Until: now.Add(tokenLife)}
	if err := s.register.write(s.path); err != nil {
		return nil, err
	}
	return map[string]string{
		"certificateId": id, "certificateOwnershipToken": token,
		"certificatePem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})),
	}, nil
}

func (s *Service) provision(client, name string, payload []byte) (any, error) {
	in := struct {
		Token      string            `json:"certificateOwnershipToken"`
		Parameters map[string]string `json:"parameters"`
	}{}
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, invalid("InvalidPayload", "Invalid JSON payload")
	}
	t := s.templates[name]
	switch {
	case t == nil:
		return nil, &rejection{404, "ResourceNotFound", "Template " + name + " not found"}
	case in.Token == "":
		return nil, invalid("InvalidCertificateOwnershipToken", "Certificate ownership token cannot be empty.")
	}
	const badToken = "Certificate ownership token is invalid or expired."
	if !s.isToken(in.Token) {
		return nil, invalid("InvalidCertificateOwnershipToken", badToken)
	}
	if s.opts.Allow != nil && !s.opts.Allow(name, client, in.Parameters) { // not locked: it may ask this service
		return nil, &rejection{403, "AccessDenied", "Access Denied"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, cert := s.register.byToken(in.Token, s.opts.Now())
	if cert == nil {
		return nil, invalid("InvalidCertificateOwnershipToken", badToken)
	}
	p, err := t.plan(in.Parameters, id)
	if err == nil {
		err = s.checkPolicy(p)
	}
	if err != nil {
		return nil, invalid(badParameters, err.Error())
	}
	s.carryOut(p, cert)
	if err := s.register.write(s.path); err != nil {
		return nil, err
	}
	return map[string]any{"deviceConfiguration": p.configuration, "thingName": p.thing}, nil
}

func (s *Service) isToken(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, cert := s.register.byToken(token, s.opts.Now())
	return cert != nil
}

func (s *Service) checkPolicy(p *plan) error {
	if p.policyName != "" && !s.opts.HasPolicy(p.policyName) {
		return invalid(badParameters, "Policy not found: "+p.policyName)
	}
	if p.policy != nil {
		return s.opts.CheckPolicy(p.policy)
	}
	return nil
}

// carryOut makes the thing, if there is none of that name, and attaches the certificate to it.
func (s *Service) carryOut(p *plan, cert *certificate) {
	if _, known := s.register.Things[p.thing]; !known && p.thing != "" {
		s.register.Things[p.thing] = Thing{Attributes: p.attributes, Type: p.thingType, Groups: p.groups}
	}
	cert.Status, cert.Thing, cert.Policy, cert.Token = inactive, p.thing, p.policy, ""
	cert.Bare = p.policy == nil && p.policyName == ""
	if p.active {
		cert.Status = active
	}
}
