package provision

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"gnomon/cloud/keypair"
)

const (
	stateFile = "provision.json"
	lockFile  = "provision.lock"
	maxSpent  = 8     // for the error's text: more help nobody
	dirMode   = 0o700 // there is a private key in it

	// tokenLife is AWS's hour, less the time that using it may take.
	tokenLife = 55 * time.Minute
)

// state is what has been done, on disk after each step. It has the token while that is worth something, so it is for
// its owner only, as everything that keypair writes.
type state struct {
	Endpoint string     `json:"endpoint"`
	Template string     `json:"template"`
	Issued   *Issued    `json:"issued,omitempty"` // waits to be claimed
	Until    *time.Time `json:"until,omitempty"`  // of the token
	// Spent are certificates that a registration was asked for and no answer was heard: they may be the thing's.
	Spent []string `json:"spent,omitempty"`
	// Device is set when everything is done.
	Device *Device `json:"device,omitempty"`
}

// Device is who a device has become.
type Device struct {
	Thing         string            `json:"thing"`
	CertificateID string            `json:"certificateId"`
	Configuration map[string]string `json:"configuration,omitempty"`
	PEM           string            `json:"certificatePem,omitempty"` // until it is in its file
}

// folder is where the key, the certificate and the state are.
type folder struct{ dir string }

// Files are the paths of the certificate and the key in a folder.
func Files(dir string) keypair.Files {
	return keypair.Files{CertFile: filepath.Join(dir, "device.pem"), KeyFile: filepath.Join(dir, "device.key")}
}

// lock makes the folder and keeps a second run out of it. The lock goes with the process, however that ends.
func (f folder) lock() (unlock func(), err error) {
	if err := os.MkdirAll(f.dir, dirMode); err != nil {
		return nil, fmt.Errorf("make the folder for the key; check its permissions or name another with --dir: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(f.dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the folder for the key; check its permissions: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("another gnomon provision is at work in %s; wait for its end: %w", f.dir, err)
	}
	return func() { _ = file.Close() }, nil
}

func (f folder) read() (*state, error) {
	s := &state{}
	path := filepath.Join(f.dir, stateFile)
	data, err := keypair.ReadSecret("the state of provisioning", path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, s)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; with --force it is begun anew", path, err)
	}
	return s, nil
}

func (f folder) write(s *state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return keypair.Replace(filepath.Join(f.dir, stateFile), data)
}

// key reads the private key, or makes one.
func (f folder) key() ([]byte, error) {
	path := Files(f.dir).KeyFile
	data, err := keypair.ReadSecret("the device's key", path)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if data, err = keypair.NewKey(); err != nil {
		return nil, err
	}
	return data, keypair.Replace(path, data)
}
