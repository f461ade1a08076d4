package ledger

import (
	"strings"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// The kinds of descriptors.
const (
	KindSocket = "socket"
	KindSQLite = "sqlite"
	KindPipe   = "pipe"
	KindPTY    = "pty"
	KindFile   = "file"
	KindDevice = "device"
	KindEvent  = "event" // epoll, eventfd, pidfd, inotify and their like
)

// KindOf tells what a descriptor is: coarser than proc does, for owners tell
// their sockets apart no better. Without a kind it goes by what the kernel
// calls it, which costs less to find out.
func KindOf(d proc.Descriptor) string {
	switch d.Kind {
	case "":
	case proc.KindTCP, proc.KindTCPListener, proc.KindUDP, proc.KindUnix, proc.KindUnixListener, proc.KindSocket:
		return KindSocket
	case proc.KindPoll, proc.KindEvent, proc.KindOther:
		return KindEvent
	case proc.KindPTY, proc.KindDevice, proc.KindPipe:
		return string(d.Kind)
	default:
		if d.Kind.SQLite() {
			return KindSQLite
		}
		return KindFile
	}
	t := strings.TrimSuffix(d.Target, " (deleted)")
	switch {
	case strings.HasPrefix(t, "socket:"):
		return KindSocket
	case strings.HasPrefix(t, "pipe:"):
		return KindPipe
	case strings.HasPrefix(t, "anon_inode:"):
		return KindEvent
	case strings.HasPrefix(t, "/dev/pts/"), t == "/dev/ptmx", strings.HasPrefix(t, "/dev/tty"):
		return KindPTY
	case strings.HasPrefix(t, "/dev/") && !strings.HasPrefix(t, "/dev/shm/"):
		return KindDevice
	}
	for _, end := range []string{".db", ".sqlite", ".sqlite3", "-wal", "-shm", "-journal"} {
		if strings.HasSuffix(t, end) {
			return KindSQLite
		}
	}
	return KindFile
}
