//go:build unix

package keeper

// Main is the keeper process: `holdfast keeper DIR`. It returns the exit code.
func Main(args []string) int { return 1 }
