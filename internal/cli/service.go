package cli

import (
	"context"
	"errors"
)

type serviceCmd struct {
	Install serviceInstallCmd `cmd:"" help:"Install the service."`
}

type serviceInstallCmd struct{}

// Run is not written yet.
func (c *serviceInstallCmd) Run(context.Context, *app) error {
	return errors.New("this build cannot install a service yet")
}
