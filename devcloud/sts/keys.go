// Package sts is the keys of devcloud's AWS side: the administrator's access key, temporary credentials for devices,
// the credential provider that hands these out, and the check of the signatures made with either. It is for
// development only.
package sts

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gnomon/devcloud/internal/statefile"
)

const (
	adminFile   = "admin.json"
	sessionFile = "session.key"
	keyBytes    = 32 // of the key that temporary credentials are derived from: as many as SHA-256 gives out

	// The forms are AWS's: AKIA… is a user's key, ASIA… a temporary one, both with 20 characters; a secret has 40.
	adminPrefix   = "AKIA"
	sessionPrefix = "ASIA"
	idBytes       = 10 // 16 characters in base32
	idLength      = 20
	secretBytes   = 30 // 40 characters in base64
	expiryBytes   = 8
	maxToken      = 1024 // bytes; AWS's have about 1000
)

// Credentials are what the credential provider hands out.
type Credentials struct {
	AccessKeyID     string    `json:"accessKeyId"`
	SecretAccessKey string    `json:"secretAccessKey"`
	SessionToken    string    `json:"sessionToken"`
	Expiration      time.Time `json:"expiration"`
}

// Principal is who has signed a request: the administrator or a device with temporary credentials.
type Principal struct {
	Admin bool
	Thing string
}

type adminKeys struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
}

// Keys knows the secrets. Temporary credentials carry their own data and need no list of those given out, so they
// outlive a restart. It never changes after Open; its methods may be called concurrently.
type Keys struct {
	admin   adminKeys
	session []byte
	path    string
	now     func() time.Time
}

// Open reads or makes the keys in a directory that exists.
func Open(dir string) (*Keys, error) {
	k := &Keys{now: time.Now, path: filepath.Join(dir, adminFile)}
	data, err := load(k.path, func() ([]byte, error) {
		id, err := newID(adminPrefix)
		secret := make([]byte, secretBytes)
		if err == nil {
			_, err = rand.Read(secret)
		}
		if err != nil {
			return nil, err
		}
		return json.MarshalIndent(adminKeys{id, base64.StdEncoding.EncodeToString(secret)}, "", "  ")
	})
	if err != nil {
		return nil, fmt.Errorf("open the administrator's access key: %w", err)
	}
	if json.Unmarshal(data, &k.admin) != nil || k.admin.AccessKeyID == "" || k.admin.SecretAccessKey == "" {
		return nil, fmt.Errorf("%s is damaged; delete it, a new key is made", k.path)
	}
	path := filepath.Join(dir, sessionFile)
	k.session, err = load(path, func() ([]byte, error) {
		key := make([]byte, keyBytes)
		_, err := rand.Read(key)
		return key, err
	})
	if err != nil {
		return nil, fmt.Errorf("open the key for temporary credentials: %w", err)
	}
	if len(k.session) != keyBytes {
		return nil, fmt.Errorf("%s is damaged; delete it, a new one is made", path)
	}
	return k, nil
}

// load reads a file, or makes it, readable for its owner only.
func load(path string, makeIt func() ([]byte, error)) ([]byte, error) {
	data, err := os.ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return data, err
	}
	if data, err = makeIt(); err != nil {
		return nil, err
	}
	return data, statefile.Write(path, data)
}

func newID(prefix string) (string, error) {
	id := make([]byte, idBytes)
	_, err := rand.Read(id)
	return prefix + base32.StdEncoding.EncodeToString(id), err
}

// Admin is the administrator's access key.
func (k *Keys) Admin() (id, secret string) { return k.admin.AccessKeyID, k.admin.SecretAccessKey }

// AdminFile is the JSON file with the administrator's access key: accessKeyId and secretAccessKey.
func (k *Keys) AdminFile() string { return k.path }

// Issue makes credentials for a device. The session token holds their end and the thing's name, and is sealed; the
// secret is derived from it.
func (k *Keys) Issue(thing string, life time.Duration) (Credentials, error) {
	id, err := newID(sessionPrefix)
	if err != nil {
		return Credentials{}, fmt.Errorf("make temporary credentials: %w", err)
	}
	end := k.now().Add(life).UTC().Truncate(time.Second)
	data := binary.BigEndian.AppendUint64(nil, uint64(end.Unix()))
	data = append(append(data, id...), thing...)
	return Credentials{
		AccessKeyID: id, SecretAccessKey: k.secret(data), Expiration: end,
		SessionToken: base64.StdEncoding.EncodeToString(append(data, k.mac("token", data)...)),
	}, nil
}

func (k *Keys) mac(purpose string, data []byte) []byte {
	mac := hmac.New(sha256.New, k.session)
	mac.Write([]byte(purpose + "\x00"))
	mac.Write(data)
	return mac.Sum(nil)
}

func (k *Keys) secret(data []byte) string {
	return base64.StdEncoding.EncodeToString(k.mac("secret", data)[:secretBytes])
}

// lookUp finds the secret of an access key, and whose it is.
func (k *Keys) lookUp(id, token string) (secret string, who Principal, err error) {
	if id == k.admin.AccessKeyID && token == "" {
		return k.admin.SecretAccessKey, Principal{Admin: true}, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(token) > maxToken || len(sealed) < expiryBytes+idLength+sha256.Size {
		return "", who, errors.New("the access key is unknown, or its session token is missing or damaged")
	}
	data, seal := sealed[:len(sealed)-sha256.Size], sealed[len(sealed)-sha256.Size:]
	if !hmac.Equal(seal, k.mac("token", data)) || string(data[expiryBytes:expiryBytes+idLength]) != id {
		return "", who, errors.New("the session token is not one of ours, or of another access key")
	}
	if end := int64(binary.BigEndian.Uint64(data)); k.now().Unix() >= end {
		return "", who, fmt.Errorf("the credentials expired at %s; get new ones", time.Unix(end, 0).UTC().Format(time.RFC3339))
	}
	return k.secret(data), Principal{Thing: string(data[expiryBytes+idLength:])}, nil
}
