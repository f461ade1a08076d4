package cli

import (
	"context"
	"errors"
)

type upgradeCmd struct{}

// Run is not written yet.
func (c *upgradeCmd) Run(context.Context, *app) error {
	return errors.New("this build cannot upgrade the host yet")
}
