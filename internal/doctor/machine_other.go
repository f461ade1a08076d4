//go:build !linux && !darwin

package doctor

import (
	"context"
	"runtime"
)

func look(context.Context) machine { return machine{system: runtime.GOOS} }
