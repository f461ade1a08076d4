package cli

import (
	"context"
	"errors"
)

type logsCmd struct{}

// Run is not written yet.
func (c *logsCmd) Run(context.Context, *app) error {
	return errors.New("this build cannot show the log of the host yet")
}
