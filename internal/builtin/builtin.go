// Package builtin is Holdfast's own agent, the one behind `holdfast agent`. It
// speaks ACP over its standard input and output like any other agent, with no
// door into the host: its files, commands, permissions and plans are real, but
// what decides is a handful of typed commands and no language model. It says
// so itself.
//
// A Decider is the part that decides. Everything else, which is sessions,
// tools, permissions and streaming, does not know which Decider it serves.
package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/internal/acp"
)

// pace is the time between two words, so that a reader can follow.
const pace = 14 * time.Millisecond

// stopGrace is how long a turn may take to end its command after SIGTERM.
const stopGrace = 4 * time.Second

// Main runs the agent until its input ends, and returns an exit code.
func Main(args []string) int {
	if len(args) > 0 {
		fmt.Fprintln(os.Stderr, "holdfast agent takes no arguments: it speaks the Agent Client Protocol on standard input and output.")
		return 2
	}
	if info, err := os.Stdin.Stat(); err == nil && isTerminal(info) {
		fmt.Fprintln(os.Stderr, "holdfast agent is a program for an ACP client, which Holdfast is. Start a session with it from the page, or run `holdfast up`.")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	conn := acp.NewConn(os.Stdin, os.Stdout)
	s := newServer(conn, Tour{}, pace)
	served := make(chan error, 1)
	go func() { served <- conn.Serve(ctx, s.handle) }()
	select {
	case err := <-served:
		if err != nil {
			fmt.Fprintln(os.Stderr, "holdfast agent:", err)
			return 1
		}
		return 0
	case <-ctx.Done():
		// The read of stdin cannot be interrupted, so Serve stays behind;
		// what matters is that no command does.
		s.stop(stopGrace)
		return 0
	}
}

// isTerminal leaves out the null device, which is a character device, too.
func isTerminal(info os.FileInfo) bool {
	if info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// Decider decides what a turn does.
type Decider interface {
	// Commands are what the page offers as commands.
	Commands() []acp.Command
	// Decide answers one prompt through t. A nil error is an ordinary end
	// of the turn; an error that follows from ctx's end is a cancel; any
	// other is shown as an internal error.
	Decide(ctx context.Context, t *Turn, prompt Prompt) error
}

// Prompt is what a person sent.
type Prompt struct {
	Text string
	// Attachments are the blocks that are no text.
	Attachments []acp.ContentBlock
	// First is true for the first prompt of a session that is not resumed.
	First bool
}

var errBusy = errors.New("a prompt of this session is running")
