//go:build !linux

package store

import "errors"

func withoutSync(string) error { return errors.ErrUnsupported }
