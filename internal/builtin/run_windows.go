package builtin

import (
	"os"
	"os/exec"
)

func shell(command string) *exec.Cmd { return exec.Command("cmd", "/c", command) }

func terminate(p *os.Process) { _ = p.Kill() }

func kill(p *os.Process) { _ = p.Kill() }

func signalOf(*os.ProcessState) string { return "" }
