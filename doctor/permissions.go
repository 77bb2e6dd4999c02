package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"gnomon/cloud/keypair"
)

const (
	othersWrite = 0o022
	othersRead  = 0o004
	ownerRead   = 0o400
	groupRead   = 0o040

	// certificateNotice is how long before its end a certificate is told of, as in the agent's health.
	certificateNotice = 30 * 24 * time.Hour
)

// File is a file with what it is called in the configuration.
type File struct{ What, Path string }

// PermissionsOptions is what Permissions looks at. Empty paths are left out.
type PermissionsOptions struct {
	// StateDir is where the agent keeps its state; its owner is taken for the user that the agent runs as.
	StateDir string
	// Secrets are keys and passwords, which only their owner may read.
	Secrets []File
	// Config is the configuration, which others should not read if Passwords.
	Config    string
	Passwords bool
}

// Permissions checks that what is secret is nobody else's to read, and that the agent can read it.
func Permissions(o PermissionsOptions) Check {
	return Check{Name: "permissions", Run: func(context.Context) Finding { return permissions(o) }}
}

func permissions(o PermissionsOptions) Finding {
	var failed, warned, do []string
	fail := func(text, advice string) { failed, do = append(failed, text), append(do, advice) }
	warn := func(text, advice string) { warned, do = append(warned, text), append(do, advice) }
	looked := 0
	owner := -1 // the user that the agent runs as; -1: this one
	if info, err := os.Stat(o.StateDir); o.StateDir != "" && err == nil {
		looked++
		if mode := info.Mode().Perm(); mode&othersWrite != 0 && info.Mode()&fs.ModeSticky == 0 {
			fail(fmt.Sprintf("others may write in %s (mode %04o)", o.StateDir, mode), "chmod 700 "+o.StateDir)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && st.Uid != 0 {
			owner = int(st.Uid)
		}
	}
	for _, s := range o.Secrets {
		if s.Path == "" {
			continue
		}
		looked++
		if _, err := keypair.ReadSecret(s.What, s.Path); err != nil {
			if text, advice, said := strings.Cut(err.Error(), ": run "); said {
				fail(text, advice)
			} else {
				fail(err.Error(), secretAdvice(err, s.Path))
			}
		} else if !readableFor(s.Path, owner, o.StateDir) {
			fail(fmt.Sprintf("%s %s is not the agent's to read, which runs as user %d", s.What, s.Path, owner), fmt.Sprintf("chown %d %s", owner, s.Path))
		}
	}
	if info, err := os.Stat(o.Config); o.Config != "" && err == nil {
		looked++
		if mode := info.Mode().Perm(); o.Passwords && mode&othersRead != 0 {
			warn(fmt.Sprintf("%s has passwords of cameras in it and everybody may read it (mode %04o)", o.Config, mode), "chmod o= "+o.Config)
		}
	}
	f := Finding{OK, fmt.Sprintf("%d files and folders are as they should be", looked), strings.Join(do, "; ")}
	switch {
	case len(failed) > 0:
		f.Status, f.Detail = Failed, strings.Join(append(failed, warned...), "; ")
	case len(warned) > 0:
		f.Status, f.Detail = Warning, strings.Join(warned, "; ")
	case looked == 0:
		return Skip("there are no files to look at yet")
	}
	return f
}

func secretAdvice(err error, path string) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "put the file there, or correct its path in the configuration"
	case errors.Is(err, fs.ErrPermission):
		return "run this as the user that the agent runs as, such as sudo -u gnomon; else chown " + path
	}
	return "put the right file there"
}

// readableFor reports whether a user whose group is that of the state directory may read a file.
func readableFor(path string, uid int, stateDir string) bool {
	if uid < 0 {
		return true // it is we, and we have read it
	}
	var file, dir syscall.Stat_t
	if syscall.Stat(path, &file) != nil || syscall.Stat(stateDir, &dir) != nil {
		return true // it was there a moment ago
	}
	if int(file.Uid) == uid {
		return file.Mode&ownerRead != 0
	}
	return file.Gid == dir.Gid && file.Mode&groupRead != 0
}

// Certificate checks the device's certificate and its key: that they are a pair, and valid now and for a while.
func Certificate(files keypair.Files, now func() time.Time) Check {
	if now == nil {
		now = time.Now
	}
	return Check{Name: "certificate", Run: func(context.Context) Finding {
		if files.CertFile == "" {
			return Skip("the device connects without one")
		}
		pair, err := keypair.Load(files, now())
		switch {
		case errors.Is(err, keypair.ErrExpired), errors.Is(err, keypair.ErrNotYetValid):
			text, advice, _ := strings.Cut(err.Error(), ": ")
			return Fail(advice, "%s", text)
		case errors.Is(err, keypair.ErrLoose):
			text, advice, _ := strings.Cut(err.Error(), ": run ")
			return Fail(advice, "%s", text)
		case errors.Is(err, fs.ErrNotExist):
			return Fail("run gnomon provision, or correct mqtt.cert_file and mqtt.key_file", "%v", err)
		case err != nil:
			return Fail(secretAdvice(err, files.KeyFile), "%v", err)
		}
		until := pair.Leaf.NotAfter.UTC()
		if left := until.Sub(now()); left < certificateNotice {
			return Warn("have it exchanged (docs/aws.md), or provision a new one", "%s ends on %s, in %d days", subject(pair.Leaf), until.Format(time.DateOnly), int(left/(24*time.Hour)))
		}
		return Good("%s, valid until %s", subject(pair.Leaf), until.Format(time.DateOnly))
	}}
}

// subject names a certificate for people.
func subject(c *x509.Certificate) string {
	if name := c.Subject.CommonName; name != "" {
		return fmt.Sprintf("%.64q", name)
	}
	return "it"
}
