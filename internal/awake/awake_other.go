//go:build !linux && !darwin

package awake

import (
	"context"
	"errors"
)

var errUnsupported = errors.New("not supported on this system")

func take(context.Context) (hold, error) { return nil, errUnsupported }

func onMains(context.Context) (bool, error) { return false, errUnsupported }
