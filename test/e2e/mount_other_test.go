//go:build !linux

package e2e

import "errors"

func detach(string) error { return errors.ErrUnsupported }
