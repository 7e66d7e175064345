package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a fault of the command line or the configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, env environment, in io.Reader, out, errOut io.Writer) int {
	// A command line that cobra itself refuses never gets to a command.
	var begun bool
	root := newRootCommand()
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		begun = true
		return applyEnvironment(cmd.Flags(), env)
	}
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(errOut, "%s: %s\n", cmd.CommandPath(), err)
	var usage *usageError
	if begun && !errors.As(err, &usage) {
		return exitFailure
	}
	_, _ = fmt.Fprintf(errOut, "Run '%s --help' for its flags and examples.\n", cmd.CommandPath())
	return exitUsage
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "pushd",
		Short: "Push messages from your services to browsers and apps",
		Long: `pushd keeps WebSocket connections of browsers and apps, grouped by tenant, user
and channel. Your services push to them over gRPC.

Start with "pushd serve --dev" and open the demo page that it names.`,
		Example: `  pushd serve --dev
  pushd send user acme ann --json '{"text":"hello"}'
  pushd stats`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	requireSubcommand(root)
	root.AddCommand(
		newServeCommand(),
		newTokenCommand(),
		newSendCommand(),
		newHistoryCommand(),
		newStatsCommand(),
		newTailCommand(),
		newHealthCommand(),
		newBenchCommand(),
		newVersionCommand(),
	)
	return root
}

// requireSubcommand makes a command that only groups others refuse to run
// alone, instead of printing its help and reporting success.
func requireSubcommand(cmd *cobra.Command) {
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q", args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), cmd.UsageString())
		return usagef("a command is missing")
	}
}
