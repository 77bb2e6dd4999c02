package devcloud

import (
	"crypto/x509"
	"fmt"

	"go.uber.org/zap"

	"gnomon/devcloud/iot"
	"gnomon/devcloud/pki"
	"gnomon/devcloud/provisioning"
)

const (
	// FleetTemplate is the provisioning template that makes a thing of a new device.
	FleetTemplate = "gnomon-fleet"
	// RotationTemplate is the one with which a thing gets another certificate.
	RotationTemplate = iot.RotationTemplate
	// DevicePolicy is how templates call CloudOptions.Policy.
	DevicePolicy = "gnomon-device"
)

// noPolicy is what a certificate without a policy is held to.
const noPolicy = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`

// DefaultTemplates are FleetTemplate, which takes the parameters SerialNumber and Model, and RotationTemplate, which
// takes ThingName, in the form that AWS IoT takes.
func DefaultTemplates() map[string][]byte {
	const certificate = `"certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "ACTIVE"}},
    "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "` + DevicePolicy + `"}}`
	return map[string][]byte{
		FleetTemplate: []byte(`{
  "Parameters": {"SerialNumber": {"Type": "String"}, "Model": {"Type": "String", "Default": "unknown"}, "AWS::IoT::Certificate::Id": {"Type": "String"}},
  "Resources": {
    "thing": {"Type": "AWS::IoT::Thing", "Properties": {
      "ThingName": {"Fn::Join": ["", ["gnomon-", {"Ref": "SerialNumber"}]]},
      "AttributePayload": {"model": {"Ref": "Model"}, "serial": {"Ref": "SerialNumber"}}}},
    ` + certificate + `
  },
  "DeviceConfiguration": {"mqtt.topic_prefix": "dt/gnomon"}
}`),
		RotationTemplate: []byte(`{
  "Parameters": {"ThingName": {"Type": "String"}, "AWS::IoT::Certificate::Id": {"Type": "String"}},
  "Resources": {
    "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "ThingName"}}, "OverrideSettings": {"AttributePayload": "MERGE"}},
    ` + certificate + `
  }
}`),
	}
}

// AllowOwnThing lets a device order a certificate with RotationTemplate for itself only: the policy of things makes the
// client id the thing's name. It is what the pre-provisioning hook at AWS has to do as well.
func AllowOwnThing(template, client string, parameters map[string]string) bool {
	return template != RotationTemplate || client == parameters["ThingName"]
}

func (c *Cloud) newFleet() (*provisioning.Service, error) {
	return provisioning.New(provisioning.Options{
		Dir: c.opts.Dir, Sign: c.pki.Sign, Templates: c.opts.Templates, Allow: c.opts.AllowProvisioning,
		HasPolicy: func(name string) bool { return name == DevicePolicy },
		CheckPolicy: func(document []byte) error {
			_, err := iot.ParsePolicy(document, c.opts.Region, c.opts.Account)
			return err
		},
		Reply: c.reply, Log: c.opts.Log.Named("provisioning"),
	})
}

// reply sends what the provisioning service has to say to one client.
func (c *Cloud) reply(client, topic string, payload []byte) {
	if err := c.broker.Reply(client, topic, payload); err != nil {
		c.opts.Log.Error("an answer of the provisioning service was lost", zap.String("topic", topic), zap.Error(err))
	}
}

// ownerOf says whose certificates were shown, and which policy they have if it is not that of all things.
func (c *Cloud) ownerOf(shown []*x509.Certificate) (pki.Owner, *iot.Policy, error) {
	leaf, id, err := c.pki.Verify(shown)
	if err != nil {
		return pki.Owner{}, nil, err
	}
	fleet, provisioned := c.fleet.Owner(id)
	if !provisioned {
		owner, err := c.pki.Identify(shown)
		if owner.Claim {
			return owner, c.claim, err
		}
		return owner, nil, err
	}
	owner := pki.Owner{Name: leaf.Subject.CommonName, Thing: fleet.Thing, Fingerprint: id}
	document := fleet.Policy
	switch {
	case !fleet.Active:
		return pki.Owner{}, nil, fmt.Errorf("%w: %s", pki.ErrInactive, id)
	case fleet.Bare:
		document = []byte(noPolicy)
	case document == nil:
		return owner, nil, nil
	}
	policy, err := iot.ParsePolicy(document, c.opts.Region, c.opts.Account)
	return owner, policy, err
}
