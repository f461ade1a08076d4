// Command holdfast is the always-on host for AI agents, its keeper, its
// built-in agent and its command line, in one binary.
package main

import (
	"context"
	"os"

	"github.com/holdfast-dev/holdfast/internal/app"
	"github.com/holdfast-dev/holdfast/internal/builtin"
	"github.com/holdfast-dev/holdfast/internal/cli"
	"github.com/holdfast-dev/holdfast/internal/keeper"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Programs{
		Version: app.Version,
		Serve:   app.Serve,
		Offline: app.Offline,
		Examine: app.Examine,
		Keeper:  keeper.Main,
		Agent:   builtin.Main,
	}))
}
