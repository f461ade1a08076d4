package handoff

import "errors"

// Exec cannot replace a program here.
func Exec(string, []string, []string, Out) error {
	return errors.New("replace program: Windows has no exec; restart the service")
}

// Take finds nothing here.
func Take() (*In, error) { return nil, nil }
