package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"gnomon/config"
)

func configCommand() *cobra.Command {
	return group("config", "Check a configuration, show what is in effect, print the default or the schema",
		"  gnomon config default > gnomon.yaml\n  gnomon config check gnomon.yaml\n  gnomon config show --config gnomon.yaml --origin",
		configShowCommand(),
		&cobra.Command{
			Use: "check FILE", Short: "Say everything that is wrong with a configuration, with line and column",
			Example: "  gnomon config check gnomon.yaml",
			Args:    exactly(1, "one configuration file"),
			RunE: func(c *cobra.Command, args []string) error {
				if _, err := config.Load(args[0]); err != nil {
					return &usageError{err}
				}
				_, err := fmt.Fprintf(c.OutOrStdout(), "%s: good\n", args[0])
				return err
			},
		},
		&cobra.Command{
			Use: "default", Short: "Print the default configuration, with comments",
			Example: "  gnomon config default > gnomon.yaml",
			Args:    exactly(0, "no arguments"),
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(config.DefaultYAML())
				return err
			},
		},
		&cobra.Command{
			Use: "schema", Short: "Print the JSON schema of the configuration, for editors",
			Example: "  gnomon config schema > gnomon.schema.json",
			Args:    exactly(0, "no arguments"),
			RunE: func(c *cobra.Command, _ []string) error {
				_, err := c.OutOrStdout().Write(config.Schema())
				return err
			},
		},
	)
}
