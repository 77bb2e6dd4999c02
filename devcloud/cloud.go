package devcloud

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gnomon/devcloud/iot"
	"gnomon/devcloud/objects"
	"gnomon/devcloud/pki"
	"gnomon/devcloud/provisioning"
	"gnomon/devcloud/shadows"
	"gnomon/devcloud/sts"
)

const (
	// The ports are AWS IoT's for MQTT, and for its HTTPS data plane.
	defaultMQTTAddr  = "127.0.0.1:8883"
	defaultHTTPSAddr = "127.0.0.1:8443"

	defaultRegion  = "eu-central-1"
	defaultAccount = "000000000000"

	// DefaultRoleAlias is the role alias that exists unless others are named.
	DefaultRoleAlias = "gnomon-device"

	dirMode = 0o700 // there are private keys in it
)

// CloudOptions configures NewCloud. Everything but Dir may be left out.
type CloudOptions struct {
	// Dir holds the state, for one Cloud at a time: certificates, things, shadows, objects, parameters, keys. It is
	// made if it does not exist, with mode 0700.
	Dir string
	// MQTTAddr and HTTPSAddr are where to listen; port 0 is one of the system's choice. The certificate is for
	// 127.0.0.1, ::1 and localhost.
	MQTTAddr, HTTPSAddr string
	// Region and Account are those of the resources' names. A Policy must be for the same.
	Region, Account string
	// Policy is the AWS IoT policy of all things; nil: iot.DefaultPolicy. See iot.ParsePolicy for what is understood.
	Policy []byte
	// Templates are the fleet provisioning templates by name, as AWS IoT takes them; nil: DefaultTemplates. A policy that
	// they name must be DevicePolicy, which is Policy.
	Templates map[string][]byte
	// ClaimPolicy is what claim certificates are held to; nil: iot.ClaimPolicy for FleetTemplate.
	ClaimPolicy []byte
	// AllowProvisioning decides as a template's pre-provisioning hook does, by the template, the client id and the
	// parameters; nil: AllowOwnThing.
	AllowProvisioning func(template, client string, parameters map[string]string) bool
	// RoleAliases are those that exist; nil: DefaultRoleAlias.
	RoleAliases []string
	// CredentialLife is how long a device's AWS credentials are valid; 0: an hour. AWS takes 900 s to 12 h; with
	// another one it answers requests with an error, and so does this.
	CredentialLife time.Duration
	// Log gets refused clients and calls, and troubles; nil: nobody does.
	Log *zap.Logger
}

func (o *CloudOptions) normalise() error {
	if o.Dir == "" {
		return errors.New("there is no directory for the state; give one")
	}
	for _, text := range []struct {
		value *string
		usual string
	}{
		{&o.MQTTAddr, defaultMQTTAddr},
		{&o.HTTPSAddr, defaultHTTPSAddr},
		{&o.Region, defaultRegion},
		{&o.Account, defaultAccount},
	} {
		if *text.value == "" {
			*text.value = text.usual
		}
	}
	if o.Policy == nil {
		o.Policy = iot.DefaultPolicy(o.Region, o.Account)
	}
	if o.Templates == nil {
		o.Templates = DefaultTemplates()
	}
	if o.ClaimPolicy == nil {
		o.ClaimPolicy = iot.ClaimPolicy(o.Region, o.Account, FleetTemplate)
	}
	if o.AllowProvisioning == nil {
		o.AllowProvisioning = AllowOwnThing
	}
	if o.RoleAliases == nil {
		o.RoleAliases = []string{DefaultRoleAlias}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return nil
}

// Thing is a device's name and the files that it connects with: PEM, readable for their owner only. Dir holds them all.
type Thing = pki.Files

// Cloud is the AWS side of gnomon on one machine: an MQTT broker with Device Shadows, fleet provisioning and
// AWS IoT's rules, and on one HTTPS port the shadows' data plane, the credential provider, S3, ECR with its registry, and Parameter Store. It is for
// development only. Create it with NewCloud; its methods may be called from any goroutine.
type Cloud struct {
	opts     CloudOptions
	lock     *os.File
	pki      *pki.Authority
	keys     *sts.Keys
	policy   *iot.Policy
	claim    *iot.Policy
	fleet    *provisioning.Service
	broker   *iot.Broker
	shadows  *shadows.Service
	objects  *objects.Service
	provider *sts.Provider
	socket   net.Listener // HTTPS
	http     *http.Server

	ran    atomic.Bool
	once   sync.Once
	closed chan struct{}
}

// NewCloud opens the state and the ports, and serves nobody yet. The caller owns the Cloud and must call Close,
// whether or not Run is called.
func NewCloud(o CloudOptions) (*Cloud, error) {
	if err := o.normalise(); err != nil {
		return nil, fmt.Errorf("devcloud: %w", err)
	}
	c := &Cloud{opts: o, closed: make(chan struct{})}
	for _, step := range []func() error{c.openDir, c.openKeys, c.openServices, c.openPorts} {
		if err := step(); err != nil {
			_ = c.Close() // the error that matters is the first one
			return nil, fmt.Errorf("devcloud: %w", err)
		}
	}
	return c, nil
}

func (c *Cloud) openDir() error {
	if err := os.MkdirAll(c.opts.Dir, dirMode); err != nil {
		return fmt.Errorf("make the state directory; check its permissions: %w", err)
	}
	dir, err := filepath.Abs(c.opts.Dir) // the paths that are given out must be good for other processes
	if err != nil {
		return fmt.Errorf("the state directory: %w", err)
	}
	c.opts.Dir = dir
	c.lock, err = lockDir(dir)
	return err
}

func (c *Cloud) openKeys() (err error) {
	if c.policy, err = iot.ParsePolicy(c.opts.Policy, c.opts.Region, c.opts.Account); err != nil {
		return err
	}
	if c.claim, err = iot.ParsePolicy(c.opts.ClaimPolicy, c.opts.Region, c.opts.Account); err != nil {
		return fmt.Errorf("claim certificates: %w", err)
	}
	if c.pki, err = pki.Open(c.opts.Dir); err != nil {
		return err
	}
	c.keys, err = sts.Open(c.opts.Dir)
	return err
}

func (c *Cloud) openServices() (err error) {
	if c.shadows, err = shadows.New(shadows.Options{
		Dir: filepath.Join(c.opts.Dir, "shadows"), Publish: c.publish, Log: c.opts.Log.Named("shadows"),
	}); err != nil {
		return err
	}
	if c.objects, err = objects.New(objects.Options{
		Dir: filepath.Join(c.opts.Dir, "objects"), Region: c.opts.Region, Account: c.opts.Account,
		Authorize: authorise, ReadOnly: readOnly,
	}); err != nil {
		return err
	}
	if c.fleet, err = c.newFleet(); err != nil {
		return err
	}
	c.provider = sts.NewProvider(sts.ProviderOptions{
		Keys: c.keys, Aliases: c.opts.RoleAliases, Life: c.opts.CredentialLife, Identify: c.thingOf,
		Allows: func(thing, alias string) bool { // a policy of the certificate's own is not looked at here
			who := iot.Subject{CommonName: thing, Thing: thing}
			return c.policy.Allows(who, iot.ActionAssumeRole, "rolealias/"+alias)
		},
	})
	return nil
}

func (c *Cloud) openPorts() error {
	const hint = "another program uses it, perhaps another devcloud; stop that or choose another port"
	socket, err := net.Listen("tcp", c.opts.MQTTAddr)
	if err != nil {
		return fmt.Errorf("open the port for MQTT: %w; %s", err, hint)
	}
	if c.broker, err = iot.New(iot.Options{
		Socket: socket, TLS: c.serverTLS(), Policy: c.policy, Log: c.opts.Log, Identify: c.identify,
		Shadow:    func(topic string, payload []byte) { c.shadows.Request(topic, payload) },
		Provision: func(client, topic string, payload []byte) { c.fleet.Request(client, topic, payload) },
	}); err != nil {
		return err
	}
	if c.socket, err = net.Listen("tcp", c.opts.HTTPSAddr); err != nil {
		return fmt.Errorf("open the port for HTTPS: %w; %s", err, hint)
	}
	c.http = c.newHTTP()
	return nil
}

// publish sends what the shadow service has to say. The service is locked meanwhile; the broker waits for nobody.
func (c *Cloud) publish(m shadows.Message) {
	if err := c.broker.Publish(m.Topic, m.Payload); err != nil {
		c.opts.Log.Error("a message of the shadow service was lost", zap.String("topic", m.Topic), zap.Error(err))
	}
}

func (c *Cloud) serverTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c.pki.Server()}}
}

func (c *Cloud) identify(state tls.ConnectionState) (iot.Identity, error) {
	owner, policy, err := c.ownerOf(state.PeerCertificates)
	if err != nil {
		return iot.Identity{}, err
	}
	return iot.Identity{
		Name: owner.Name, Thing: owner.Thing, Admin: owner.Admin, Principal: owner.Fingerprint, Policy: policy,
	}, nil
}

// Run serves until ctx ends, Close is called or a part fails, and leaves nothing behind but the state. While it runs,
// endpoints.json in the state directory tells other processes where everything is. Call it once.
func (c *Cloud) Run(ctx context.Context) error {
	select {
	case <-c.closed:
		return errors.New("run devcloud: it is closed; make a new one")
	default:
	}
	if c.ran.Swap(true) {
		return errors.New("run devcloud: Run was called before; make a new one")
	}
	defer c.Close()
	if err := c.writeEndpoints(); err != nil {
		return fmt.Errorf("run devcloud: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	wg := sync.WaitGroup{}
	wg.Go(func() { ended <- c.broker.Run(ctx) })
	wg.Go(func() { ended <- c.serveHTTP() })
	var err error
	select {
	case <-ctx.Done():
	case <-c.closed:
	case err = <-ended:
	}
	select {
	case <-c.closed: // what a part says about being closed is no failure
		err = nil
	default:
	}
	_ = c.Close()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("run devcloud: %w", err)
	}
	return nil
}

// Close ends all connections, frees the ports and returns when everything has ended. It may be called more than once.
func (c *Cloud) Close() error {
	c.once.Do(func() {
		close(c.closed)
		if c.ran.Load() {
			c.removeEndpoints()
		}
		if c.http != nil {
			c.stopHTTP()
		}
		if c.socket != nil {
			_ = c.socket.Close()
		}
		if c.broker != nil {
			c.broker.Close()
		}
		if c.shadows != nil {
			_ = c.shadows.Close()
		}
		if c.objects != nil {
			_ = c.objects.Close()
		}
		if c.lock != nil {
			_ = c.lock.Close()
		}
	})
	return nil
}
