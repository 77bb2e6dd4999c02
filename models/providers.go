package models

import (
	"slices"
	"strings"
)

const (
	// maxProviders is more than any machine has kinds of processors for.
	maxProviders = 8
	// maxProvider is the longest name of an execution provider, in bytes.
	maxProvider = 64
	// providerCPU is the provider that is always there and runs everything.
	providerCPU = "cpu"
)

// providers checks the names that the runtime will be asked for. Whether it has them, only the device knows.
func (c *checker) providers(names []string) {
	if len(names) > maxProviders {
		c.problems.Addf("providers", "has %d entries, more than the %d that are allowed", len(names), maxProviders)
		return
	}
	for i, name := range names {
		switch {
		case name == "" || len(name) > maxProvider || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "":
			c.problems.Addf("providers", "has %q at place %d; write tensorrt, cuda, cpu or the name of a plugin's provider", shorten(name), i+1)
		case slices.Contains(names[:i], name):
			c.problems.Addf("providers", "has %s twice; remove one", name)
		case name == providerCPU && i < len(names)-1:
			c.problems.Addf("providers", "has %s before others, and what stands behind it is never used: put it last", name)
		}
	}
}
