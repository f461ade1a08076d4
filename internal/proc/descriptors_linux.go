package proc

import (
	"bufio"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Table lists what the process has open, as Descriptors does, with kinds and
// names. It opens none of the files, and asks no file server about them: it
// can be used on a process that hangs, and on this one.
func Table(pid int) ([]Descriptor, error) {
	fds, err := Descriptors(pid)
	if err != nil {
		return nil, err
	}
	inodes := map[string]int{} // of sockets, to the place in fds
	for i := range fds {
		d := &fds[i]
		if inode, ok := strings.CutPrefix(d.Target, "socket:["); ok {
			d.Kind, d.Name = KindSocket, "socket of another kind"
			inodes[strings.TrimSuffix(inode, "]")] = d.FD
			continue
		}
		classify(pid, d)
	}
	settleDatabases(fds)
	if len(inodes) > 0 {
		nameEndpoints(fds, endpoints(pid, inodes))
	}
	return fds, nil
}

// classify fills in the kind and name of what is no socket.
func classify(pid int, d *Descriptor) {
	kind, _, kernels := strings.Cut(d.Target, ":")
	if kernels && !strings.HasPrefix(d.Target, "/") {
		what := strings.Trim(strings.TrimPrefix(d.Target, "anon_inode:"), "[]")
		switch {
		case kind == "pipe":
			d.Kind, d.Name = KindPipe, "pipe"
		case kind != "anon_inode":
			d.Kind, d.Name = KindOther, kind // a namespace, a pidfd
		case what == "eventpoll":
			d.Kind, d.Name = KindPoll, "epoll"
		case what == "eventfd", what == "timerfd", what == "signalfd", what == "inotify", what == "fanotify":
			d.Kind, d.Name = KindEvent, what
		default:
			d.Kind, d.Name = KindOther, what
		}
		return
	}
	var st unix.Statx_t
	// DONT_SYNC: a file server that is away must not stop us.
	err := unix.Statx(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid)+"/fd/"+strconv.Itoa(d.FD), unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_NLINK, &st)
	if path, ok := strings.CutSuffix(d.Target, " (deleted)"); ok && (err != nil || st.Nlink == 0) {
		d.Target, d.Deleted = path, true
	}
	d.Name = d.Target
	switch {
	case strings.HasPrefix(d.Target, "/memfd:"), strings.HasPrefix(d.Target, "/dev/shm/"), strings.HasPrefix(d.Target, "/SYSV"):
		d.Kind = KindMemory
		d.Deleted = false // it never had a name
	case err != nil:
		d.Kind = fileKind(d.Target)
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		d.Kind = KindDirectory
	case st.Mode&unix.S_IFMT == unix.S_IFCHR, st.Mode&unix.S_IFMT == unix.S_IFBLK:
		d.Kind = deviceKind(d.Target)
	case st.Mode&unix.S_IFMT == unix.S_IFIFO:
		d.Kind = KindPipe
	default:
		d.Kind = fileKind(d.Target)
	}
}

// endpoints finds sockets in the kernel's tables of the process's own network.
// What is in none of them is left out.
func endpoints(pid int, inodes map[string]int) map[int]endpoint {
	ends := map[int]endpoint{}
	for _, table := range []struct {
		name  string
		parse func(fields []string) (inode string, e endpoint, ok bool)
	}{
		{"tcp", parseTCP},
		{"tcp6", parseTCP},
		{"udp", parseUDP},
		{"udp6", parseUDP},
		{"unix", parseUnix},
	} {
		if len(ends) == len(inodes) {
			break
		}
		f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/net/" + table.name)
		if err != nil {
			continue // a kernel without the protocol
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			inode, e, ok := table.parse(strings.Fields(lines.Text()))
			if fd, wanted := inodes[inode]; ok && wanted {
				ends[fd] = e
			}
		}
		f.Close()
	}
	return ends
}

// The states of a TCP socket, as include/net/tcp_states.h numbers them.
const (
	tcpEstablished = "01"
	tcpListen      = "0A"
)

func parseTCP(fields []string) (string, endpoint, bool) {
	inode, e, ok := parseInet(fields)
	if !ok {
		return "", e, false
	}
	e.kind = KindTCP
	switch fields[3] {
	case tcpListen:
		e.kind = KindTCPListener
	case tcpEstablished:
	case "02", "03":
		e.state = "connecting"
	case "08":
		e.state = "closed by the other side" // CLOSE_WAIT: we owe it a close
	case "07":
		e.state = "not connected"
	default:
		e.state = "closing"
	}
	return inode, e, true
}

func parseUDP(fields []string) (string, endpoint, bool) {
	inode, e, ok := parseInet(fields)
	e.kind = KindUDP
	return inode, e, ok
}

// parseInet reads: sl local_address rem_address st tx:rx tr:when retrnsmt uid
// timeout inode.
func parseInet(fields []string) (string, endpoint, bool) {
	if len(fields) < 10 {
		return "", endpoint{}, false
	}
	local, err := parseSocketAddr(fields[1])
	if err != nil {
		return "", endpoint{}, false // the table's head
	}
	e := endpoint{local: plain(local), localPort: strconv.Itoa(int(local.Port()))}
	if remote, err := parseSocketAddr(fields[2]); err == nil && remote.Port() != 0 {
		e.remote = plain(remote)
	}
	return fields[9], e, true
}

func plain(a netip.AddrPort) string {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
}

// parseUnix reads: Num RefCount Protocol Flags Type St Inode Path.
func parseUnix(fields []string) (string, endpoint, bool) {
	if len(fields) < 7 {
		return "", endpoint{}, false
	}
	const acceptConn = 0x10000
	flags, err := strconv.ParseUint(fields[3], 16, 32)
	if err != nil {
		return "", endpoint{}, false
	}
	e := endpoint{kind: KindUnix, local: strings.Join(fields[7:], " ")}
	if flags&acceptConn != 0 {
		e.kind = KindUnixListener
	}
	return fields[6], e, true
}
