package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Install puts the program at staged in the place of the one at exe, whose
// folder it lies in, and keeps the old one beside it under the name that it
// returns. At no moment is there no program at exe.
func Install(staged, exe string) (previous string, err error) {
	previous = exe + ".previous"
	if err := os.Remove(previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("make room for the old program: %w", err)
	}
	if err := os.Link(exe, previous); err != nil {
		return "", fmt.Errorf("keep the old program: %w", err)
	}
	if err := os.Rename(staged, exe); err != nil {
		return "", fmt.Errorf("put the new program in place: %w", err)
	}
	return previous, nil
}
