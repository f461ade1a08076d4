package proc

import (
	"path"
	"strings"
)

// Kind is what a descriptor is of.
type Kind string

// The kinds. A database is known by its name, never by its content: to open
// and close the file of a database that this process has open would strip
// SQLite's locks.
const (
	KindSQLite        Kind = "sqlite"
	KindSQLiteWAL     Kind = "sqlite-wal"
	KindSQLiteSHM     Kind = "sqlite-shm"
	KindSQLiteJournal Kind = "sqlite-journal"
	KindFile          Kind = "file"
	KindDirectory     Kind = "directory"
	KindDevice        Kind = "device"
	KindPTY           Kind = "pty"
	KindPipe          Kind = "pipe"
	KindTCP           Kind = "tcp"
	KindTCPListener   Kind = "tcp-listener"
	KindUDP           Kind = "udp"
	KindUnix          Kind = "unix"
	KindUnixListener  Kind = "unix-listener"
	KindSocket        Kind = "socket" // of another family, or without a name
	KindPoll          Kind = "poll"   // epoll, kqueue
	KindEvent         Kind = "event"  // eventfd, timerfd, signalfd, inotify and their like
	KindMemory        Kind = "memory" // memfd, shared memory
	KindOther         Kind = "other"
)

// SQLite tells whether the kind is one of the files of a database.
func (k Kind) SQLite() bool {
	return k == KindSQLite || k == KindSQLiteWAL || k == KindSQLiteSHM || k == KindSQLiteJournal
}

// fileKind names the kind of a regular file by its path.
func fileKind(name string) Kind {
	switch {
	case strings.HasSuffix(name, "-wal"):
		return KindSQLiteWAL
	case strings.HasSuffix(name, "-shm"):
		return KindSQLiteSHM
	case strings.HasSuffix(name, "-journal"):
		return KindSQLiteJournal
	}
	switch path.Ext(name) {
	case ".db", ".db3", ".sqlite", ".sqlite3", ".s3db":
		return KindSQLite
	}
	return KindFile
}

// settleDatabases makes databases of files whose -wal, -shm or -journal the
// process has open as well, whatever they are called.
func settleDatabases(fds []Descriptor) {
	bases := map[string]bool{}
	for _, d := range fds {
		if !d.Kind.SQLite() || d.Kind == KindSQLite {
			continue
		}
		bases[strings.TrimSuffix(d.Target, strings.TrimPrefix(string(d.Kind), "sqlite"))] = true
	}
	for i := range fds {
		if fds[i].Kind == KindFile && bases[fds[i].Target] {
			fds[i].Kind = KindSQLite
		}
	}
}

// deviceKind names the kind of a device by its path.
func deviceKind(name string) Kind {
	if strings.HasPrefix(name, "/dev/pts/") || strings.HasPrefix(name, "/dev/tty") || name == "/dev/ptmx" {
		return KindPTY
	}
	return KindDevice
}

// endpoint is what the kernel says of a socket.
type endpoint struct {
	kind          Kind
	local, remote string // an address and port, or a path
	localPort     string
	state         string // of a connection that is not simply established
}

// nameEndpoints names sockets so that connections of one purpose have one
// name: those of clients by the address that they came to, others by where
// they go, each with the state that is not the usual one.
func nameEndpoints(fds []Descriptor, ends map[int]endpoint) {
	listens := map[string]bool{}
	for _, e := range ends {
		if e.kind == KindTCPListener {
			listens[e.localPort] = true
		}
	}
	for i := range fds {
		e, ok := ends[fds[i].FD]
		if !ok {
			continue
		}
		d := &fds[i]
		d.Kind = e.kind
		switch {
		case e.kind == KindTCPListener, e.kind == KindUnixListener:
			d.Name = strings.TrimSuffix(string(e.kind), "-listener") + " " + e.local + ", listening"
		case e.kind == KindTCP && listens[e.localPort]:
			d.Name = "tcp " + e.local + ", from clients"
		case e.kind == KindTCP, e.kind == KindUDP:
			d.Name = string(e.kind)
			if e.remote != "" {
				d.Name += " to " + e.remote
			} else if e.local != "" {
				d.Name += " " + e.local
			}
		case e.local != "":
			d.Name = string(e.kind) + " " + e.local
		default:
			d.Name = string(e.kind) + " without a name"
		}
		if e.state != "" {
			d.Name += ", " + e.state
		}
	}
}
