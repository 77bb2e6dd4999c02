package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/models/deploy"
)

// watchEvery is how often watch asks for the shadow: often enough to see each state, far below the service's limit of 20
// a second.
const watchEvery = 250 * time.Millisecond

// shadowName is the shadow that devcloud's configurations use.
const shadowName = "gnomon"

func deployCommand(f *cloudFlags) *cobra.Command {
	e := desiredModel{}
	var probation time.Duration
	c := &cobra.Command{
		Use:   "deploy SLOT REFERENCE",
		Short: "Tell a device to run a model: write it into the desired state of its shadow",
		Long: "REFERENCE is what push-model prints, \"builtin\" for the configured model, or any reference that the device may\n" +
			"fetch from; then --sha256 is needed unless the reference holds the digest.",
		Example: "  gnomon devcloud deploy default s3://gnomon-models/yolo11n/0f4c….tar\n  gnomon devcloud deploy default builtin",
		Args:    exactly(2, "a slot and a reference"),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := newCloudAdmin(f)
			if err != nil {
				return err
			}
			e.URI = args[1]
			if e.SHA256 == "" {
				e.SHA256 = digestIn(args[1])
			}
			if e.SHA256 == "" && e.URI != deploy.Builtin && !strings.HasPrefix(e.URI, "oci://") {
				return usage("the reference does not hold its digest; add --sha256")
			}
			if probation < 0 || probation%time.Second != 0 {
				return usage("--probation must be whole seconds, such as 30s")
			}
			e.Probation = int(probation.Seconds())
			return a.desire(c.Context(), f.thing, map[string]any{"models": map[string]any{args[0]: e.full()}})
		},
	}
	c.Flags().StringVar(&e.SHA256, "sha256", "", "digest of the artefact (default: the one in the reference)")
	c.Flags().StringVar(&e.Version, "version", "", "version that the model must have")
	c.Flags().Int64Var(&e.Release, "release", 0, "release that the model must have")
	c.Flags().StringVar(&e.Signature, "signature", "", "detached signature, base64")
	c.Flags().BoolVar(&e.AllowDowngrade, "allow-downgrade", false, "take a release that is lower than one before")
	c.Flags().DurationVar(&probation, "probation", 0, "how long to watch the model (default: as the device is configured)")
	return c
}

// desiredModel is an entry of the desired document.
type desiredModel struct {
	URI            string
	SHA256         string
	Version        string
	Release        int64
	Signature      string
	AllowDowngrade bool
	Probation      int // seconds
}

// full has every member, null where nothing is said: a shadow merges, and what an older entry said must go.
func (d desiredModel) full() map[string]any {
	or := func(v any, empty bool) any {
		if empty {
			return nil
		}
		return v
	}
	return map[string]any{
		"uri": d.URI, "sha256": or(d.SHA256, d.SHA256 == ""), "version": or(d.Version, d.Version == ""),
		"release": or(d.Release, d.Release == 0), "signature": or(d.Signature, d.Signature == ""),
		"allow_downgrade": or(true, !d.AllowDowngrade), "probation_s": or(d.Probation, d.Probation == 0),
	}
}

// digestIn finds the digest in a reference: that of an OCI manifest, or the name of an object that push-model made.
func digestIn(ref string) string {
	if _, d, ok := strings.Cut(ref, "@sha256:"); ok {
		return d
	}
	name := strings.TrimSuffix(path.Base(ref), path.Ext(ref))
	if regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(name) {
		return name
	}
	return ""
}

func shadowPath(thing string) string {
	return "/things/" + url.PathEscape(thing) + "/shadow?name=" + shadowName
}

// desire merges into the desired state of a thing's shadow.
func (a *cloudAdmin) desire(ctx context.Context, thing string, desired any) error {
	body, err := json.Marshal(map[string]any{"state": map[string]any{"desired": desired}})
	if err != nil {
		return err
	}
	if _, err := a.call(ctx, "iotdata", http.MethodPost, shadowPath(thing), "", body); err != nil {
		return fmt.Errorf("update the shadow of %s: %w", thing, err)
	}
	return nil
}

// shadowState is what watch looks at.
type shadowState struct {
	State struct {
		Desired struct {
			Models map[string]struct {
				SHA256 string `json:"sha256"`
				URI    string `json:"uri"`
			} `json:"models"`
		} `json:"desired"`
		Reported struct {
			Models map[string]deploy.SlotReport `json:"models"`
		} `json:"reported"`
	} `json:"state"`
}

func watchCommand(f *cloudFlags) *cobra.Command {
	var settled bool
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "watch",
		Short: "Show how deployments go, as the device reports it",
		Long: "Print a line for each change in what a device reports of its slots, until interrupted. With --settled it ends when all\n" +
			"slots run what is desired (exit code 0), or one of them has given up for good (exit code 1).",
		Example: "  gnomon devcloud watch\n  gnomon devcloud watch --settled --timeout 5m",
		Args:    exactly(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := newCloudAdmin(f)
			if err != nil {
				return err
			}
			ctx := c.Context()
			if timeout > 0 {
				limited, cancel := context.WithTimeout(ctx, timeout)
				defer cancel()
				ctx = limited
			}
			err = a.watch(ctx, c.OutOrStdout(), f.thing, settled)
			if ctx.Err() != nil {
				if c.Context().Err() == nil {
					return fmt.Errorf("nothing was settled within %v", timeout)
				}
				return nil // interrupted: that is how it ends
			}
			return err
		},
	}
	c.Flags().BoolVar(&settled, "settled", false, "end when all slots run what is desired, or one has given up")
	c.Flags().DurationVar(&timeout, "timeout", 0, "end after this time with exit code 1")
	return c
}

func (a *cloudAdmin) watch(ctx context.Context, out io.Writer, thing string, settled bool) error {
	last := map[string]string{}
	for {
		data, err := a.call(ctx, "iotdata", http.MethodGet, shadowPath(thing), "", nil)
		var refused *adminError
		var s shadowState
		switch {
		case errors.As(err, &refused) && refused.status == http.StatusNotFound: // no agent has connected yet
		case err != nil:
			return err
		default:
			if err := json.Unmarshal(data, &s); err != nil {
				return fmt.Errorf("read the shadow of %s: %w", thing, err)
			}
		}
		for _, slot := range slices.Sorted(maps.Keys(s.State.Reported.Models)) {
			line := slotLine(slot, s.State.Reported.Models[slot])
			if line != last[slot] {
				last[slot] = line
				if _, err := fmt.Fprintf(out, "%s  %s\n", time.Now().Format("15:04:05"), line); err != nil {
					return err
				}
			}
		}
		if settled {
			if done, err := s.settled(); done {
				return err
			}
		}
		select {
		case <-time.After(watchEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settled tells whether all slots run what is desired, or, with an error, one has given up.
func (s *shadowState) settled() (bool, error) {
	if len(s.State.Desired.Models) == 0 {
		return false, nil
	}
	for slot, want := range s.State.Desired.Models {
		r, ok := s.State.Reported.Models[slot]
		if !ok {
			return false, nil
		}
		switch r.State {
		case deploy.StateFailed, deploy.StateRolledBack, deploy.StateBanned:
			c := r.Candidate
			about := c != nil && (want.SHA256 != "" && c.SHA256 == want.SHA256 || c.URI == want.URI || isOfTag(c.URI, want.URI))
			if about && r.RetryAt.IsZero() { // with a time it will be tried again
				return true, errors.New("slot " + slotLine(slot, r))
			}
			return false, nil
		case deploy.StateActive:
			if want.URI == deploy.Builtin && r.URI == deploy.Builtin || want.SHA256 != "" && r.SHA256 == want.SHA256 || isOfTag(r.URI, want.URI) {
				continue
			}
		}
		return false, nil
	}
	return true, nil
}

// isOfTag tells whether the pinned reference of a model can be what a tag was resolved to: of the same repository.
func isOfTag(pinned, ref string) bool {
	slash := strings.LastIndexByte(ref, '/')
	repo, _, tagged := strings.Cut(ref[slash+1:], ":")
	return tagged && !strings.Contains(ref, "@") && strings.HasPrefix(ref, "oci://") && strings.HasPrefix(pinned, ref[:slash+1]+repo+"@")
}

// slotLine is what a slot reports, in one line.
func slotLine(slot string, r deploy.SlotReport) string {
	line := fmt.Sprintf("%s: %s", slot, r.State)
	if r.State == deploy.StateDownloading {
		line += fmt.Sprintf(" %d%%", r.Percent)
	}
	if c := r.Candidate; c != nil {
		line += fmt.Sprintf(" %s", modelText(c.Version, c.SHA256, c.URI))
	}
	line += fmt.Sprintf(", running %s", modelText(r.Version, r.SHA256, r.URI))
	if r.Error != nil {
		line += fmt.Sprintf("; %s (%s)", r.Error.Message, r.Error.Code)
	}
	if !r.RetryAt.IsZero() {
		line += "; next try at " + r.RetryAt.Local().Format("15:04:05")
	}
	return line
}

// modelText names a model shortly.
func modelText(version, sha, uri string) string {
	switch {
	case sha == "" && (uri == "" || uri == deploy.Builtin):
		return "the built-in model"
	case version == "":
		return fmt.Sprintf("%.12s", sha)
	}
	return fmt.Sprintf("version %s (%.12s)", version, sha)
}
