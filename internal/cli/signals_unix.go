//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

func isDump(sig os.Signal) bool { return sig == syscall.SIGUSR1 }

func notifyDump(to chan<- os.Signal) { signal.Notify(to, syscall.SIGUSR1) }
