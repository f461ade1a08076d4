package cli

import (
	"context"
	"errors"
)

type doctorCmd struct{}

// Run is not written yet.
func (c *doctorCmd) Run(context.Context, *app) error {
	return errors.New("this build cannot examine the host yet")
}
