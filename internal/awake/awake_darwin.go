package awake

import (
	"context"
	"fmt"
	"os/exec"
)

func take(ctx context.Context) (hold, error) { return caffeinate(ctx, "/usr/bin/caffeinate") }

func onMains(ctx context.Context) (bool, error) {
	out, err := exec.CommandContext(ctx, "/usr/bin/pmset", "-g", "batt").Output()
	if err != nil {
		return false, fmt.Errorf("ask pmset for the power source: %w", err)
	}
	return mainsFromPmset(out)
}
