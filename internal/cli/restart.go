package cli

import (
	"context"
	"errors"
)

type restartCmd struct{}

// Run is not written yet.
func (c *restartCmd) Run(context.Context, *app) error {
	return errors.New("this build cannot restart the host yet")
}
