package rotate

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"gnomon/cloud/keypair"
)

// The endings of files beside the pair that is in use.
const (
	nextEnd     = ".next"     // the pair that is being tried
	previousEnd = ".previous" // the pair that was, until the new one has lived
	recordEnd   = ".rotation" // behind the certificate's name: what is under way
)

// step is how far a rotation has come; it is on disk before the step begins.
type step string

const (
	idle      step = ""
	ordering  step = "ordering"
	trying    step = "trying"
	switching step = "switching" // the files are being exchanged: this can only go forward
	probation step = "probation"
	restoring step = "restoring" // the files are being put back: this can only go on
)

// record is a rotation on disk.
type record struct {
	ID       string    `json:"id"` // the order's, or the last one's
	Step     step      `json:"step"`
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Previous string    `json:"previous_id,omitempty"` // the old certificate's id
	Since    time.Time `json:"since"`
}

// pair names the three files of a kind.
type pair struct{ keypair.Files }

func (p pair) next() keypair.Files     { return with(p.Files, nextEnd) }
func (p pair) previous() keypair.Files { return with(p.Files, previousEnd) }
func (p pair) record() string          { return p.CertFile + recordEnd }

func with(f keypair.Files, end string) keypair.Files {
	return keypair.Files{CertFile: f.CertFile + end, KeyFile: f.KeyFile + end}
}

func (p pair) read() (record, error) {
	r := record{}
	data, err := keypair.ReadSecret("the state of the rotation", p.record())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return record{}, fmt.Errorf("read %s: %w", p.record(), err)
	}
	return r, nil
}

func (p pair) write(r record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return keypair.Replace(p.record(), data)
}

// Recover finishes an exchange of files that a crash has interrupted, so that certificate and key are a pair. Call it
// before anything reads them. Where there was never a rotation it does nothing.
func Recover(f keypair.Files) error {
	p := pair{f}
	r, err := p.read()
	if err == nil {
		switch r.Step {
		case switching:
			err = p.exchange(func(string) error { return nil })
		case restoring:
			err = p.restore(func(string) error { return nil })
		}
	}
	if fitErr := p.mend(); fitErr != nil {
		return fmt.Errorf("recover the device's certificate: %w", errors.Join(err, fitErr))
	}
	return nil // a record that can't be read is New's to say; there is a pair
}

// exchange makes the next pair the one in use. Each step may be the last before a crash and is skipped when it is done
// already; the certificate is the last to move, so that with it everything is done.
func (p pair) exchange(done func(string) error) error {
	next, previous := p.next(), p.previous()
	if exists(next.KeyFile) { // what is in use is the old pair still
		for from, to := range map[string]string{p.KeyFile: previous.KeyFile, p.CertFile: previous.CertFile} {
			data, err := keypair.Read("the old pair", from)
			if err == nil {
				err = keypair.Replace(to, data)
			}
			if err != nil {
				return err
			}
		}
		if err := done("saved"); err != nil {
			return err
		}
		if err := keypair.Rename(next.KeyFile, p.KeyFile); err != nil {
			return err
		}
		if err := done("key"); err != nil {
			return err
		}
	}
	if exists(next.CertFile) {
		return keypair.Rename(next.CertFile, p.CertFile)
	}
	return nil
}

// restore makes the previous pair the one in use.
func (p pair) restore(done func(string) error) error {
	previous := p.previous()
	for _, move := range [][2]string{{previous.KeyFile, p.KeyFile}, {previous.CertFile, p.CertFile}} {
		if !exists(move[0]) {
			continue
		}
		if err := keypair.Rename(move[0], move[1]); err != nil {
			return err
		}
		if err := done("restored"); err != nil {
			return err
		}
	}
	return nil
}

// mend makes sure that what is in use is a pair, whatever has happened to the files. What there is nothing better for
// stays as it is: its user says what is wrong with it.
func (p pair) mend() error {
	if isPair(p.Files) {
		return nil
	}
	next, previous := p.next(), p.previous()
	switch {
	case isPair(keypair.Files{CertFile: next.CertFile, KeyFile: p.KeyFile}):
		return keypair.Rename(next.CertFile, p.CertFile)
	case isPair(keypair.Files{CertFile: previous.CertFile, KeyFile: p.KeyFile}):
		return keypair.Rename(previous.CertFile, p.CertFile)
	case isPair(previous):
		return p.restore(func(string) error { return nil })
	}
	return nil
}

// isPair reports whether certificate and key belong together, whatever the time.
func isPair(f keypair.Files) bool {
	certPEM, err := keypair.Read("", f.CertFile)
	if err != nil {
		return false
	}
	keyPEM, err := keypair.Read("", f.KeyFile)
	if err != nil {
		return false
	}
	_, err = tls.X509KeyPair(certPEM, keyPEM)
	return err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// discard deletes the files with an ending.
func discard(f keypair.Files) error {
	return errors.Join(keypair.Remove(f.KeyFile), keypair.Remove(f.CertFile))
}
