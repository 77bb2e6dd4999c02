package provisioning

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"gnomon/devcloud/internal/statefile"
)

// What a certificate is at AWS IoT.
const (
	pending  = "PENDING_ACTIVATION"
	active   = "ACTIVE"
	inactive = "INACTIVE"
)

// Thing is a device that was provisioned.
type Thing struct {
	Attributes map[string]string `json:"attributes"`
	Type       string            `json:"type,omitempty"`
	Groups     []string          `json:"groups,omitempty"`
}

// certificate is one that was made from a signing request.
type certificate struct {
	Status string          `json:"status"`
	Thing  string          `json:"thing,omitempty"`
	Policy json.RawMessage `json:"policy,omitempty"` // absent: that of all things
	Bare   bool            `json:"bare,omitempty"`   // the template attached none
	Token  string          `json:"token,omitempty"`  // until it is used
	Until  time.Time       `json:"until"`            // of the token
}

// register is what the service knows, on disk as one file.
type register struct {
	Things       map[string]Thing        `json:"things"`
	Certificates map[string]*certificate `json:"certificates"` // by id
}

func readRegister(path string) (*register, error) {
	r := &register{}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, r)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the provisioned things in %s: %w; delete it to begin anew", path, err)
	}
	if r.Things == nil {
		r.Things = map[string]Thing{}
	}
	if r.Certificates == nil {
		r.Certificates = map[string]*certificate{}
	}
	return r, nil
}

func (r *register) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return statefile.Write(path, data)
}

// forget drops certificates that nobody has claimed in time, as AWS does.
func (r *register) forget(now time.Time) {
	maps.DeleteFunc(r.Certificates, func(_ string, c *certificate) bool { return c.Status == pending && now.After(c.Until) })
}

// byToken finds the certificate that a token belongs to.
func (r *register) byToken(token string, now time.Time) (id string, c *certificate) {
	for id, c := range r.Certificates {
		if c.Token == token && token != "" && now.Before(c.Until) {
			return id, c
		}
	}
	return "", nil
}

// Owner is whose certificate it is.
type Owner struct {
	Thing  string // empty: it is attached to none
	Active bool
	Bare   bool   // it has no policy: nothing is allowed
	Policy []byte // the document that it has instead of that of all things; nil: none
}

// Owner finds a certificate that this service has made by its id; false: it has not made it.
func (s *Service) Owner(id string) (Owner, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.register.Certificates[id]
	if c == nil {
		return Owner{}, false
	}
	return Owner{c.Thing, c.Status == active, c.Bare, c.Policy}, true
}

// Things are those that were provisioned, by name.
func (s *Service) Things() map[string]Thing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.register.Things)
}

// Certificates lists the ids of a thing's active certificates.
func (s *Service) Certificates(thing string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := []string{}
	for id, c := range s.register.Certificates {
		if c.Thing == thing && c.Status == active {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// SetActive switches a certificate on or off, as update-certificate does.
func (s *Service) SetActive(id string, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.register.Certificates[id]
	if c == nil {
		return fmt.Errorf("there is no certificate %s", id)
	}
	if c.Status = inactive; on {
		c.Status = active
	}
	return s.register.write(s.path)
}

// Remove forgets a thing and its certificates.
func (s *Service) Remove(thing string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.register.Things, thing)
	maps.DeleteFunc(s.register.Certificates, func(_ string, c *certificate) bool { return c.Thing == thing })
	return s.register.write(s.path)
}
