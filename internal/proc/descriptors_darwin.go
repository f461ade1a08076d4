package proc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of proc_info(2), <sys/proc_info.h>.
const (
	callFDInfo = 3

	fdVnode  = 1 // PROX_FDTYPE_…
	fdSocket = 2
	fdPSHM   = 3
	fdPSEM   = 4
	fdKqueue = 5
	fdPipe   = 6
	fdEvents = 7

	// struct vnode_fdinfowithpath, PROC_PIDFDVNODEPATHINFO: 24 bytes of
	// proc_fileinfo, 152 of vnode_info, a path.
	vnodePathFlavor = 2
	vnodeInfoSize   = 24 + 152 + 1024
	vnodeNlinkAt    = 24 + 6
	vnodeTypeAt     = 24 + 136
	vnodePathAt     = 24 + 152

	// More of struct socket_fdinfo (see port_darwin.go).
	socketFlavor      = 3
	sockOptionsAt     = 188
	sockRemotePortAt  = 264
	sockRemoteAddrAt  = 296
	sockUnixPathAt    = 282
	sockUnixPathSize  = 104
	sockKindIn        = 1
	sockKindUnix      = 3
	sockOptAccepting  = 0x2
	tcpStateSynSent   = 2
	tcpStateOpen      = 4
	tcpStateCloseWait = 5
)

// Table lists what the process has open, as Descriptors does, with paths,
// kinds and names. It opens none of the files.
func Table(pid int) ([]Descriptor, error) {
	list, err := listTypes(pid)
	if err != nil {
		return nil, err
	}
	var fds []Descriptor
	ends := map[int]endpoint{}
	for i := 0; i+8 <= len(list); i += 8 {
		d := Descriptor{FD: int(binary.NativeEndian.Uint32(list[i:]))}
		switch binary.NativeEndian.Uint32(list[i+4:]) {
		case fdVnode:
			vnode(pid, &d)
		case fdSocket:
			d.Kind, d.Name = KindSocket, "socket of another kind"
			if e, ok := socketEnd(pid, d.FD); ok {
				ends[d.FD] = e
			}
		case fdPSHM:
			d.Kind, d.Name = KindMemory, "shared memory"
		case fdPSEM:
			d.Kind, d.Name = KindOther, "semaphore"
		case fdKqueue:
			d.Kind, d.Name = KindPoll, "kqueue"
		case fdPipe:
			d.Kind, d.Name = KindPipe, "pipe"
		case fdEvents:
			d.Kind, d.Name = KindEvent, "fsevents"
		default:
			d.Kind, d.Name = KindOther, "other"
		}
		fds = append(fds, d)
	}
	settleDatabases(fds)
	nameEndpoints(fds, ends)
	return fds, nil
}

// listTypes asks for pairs of descriptor and type, four bytes each, with a
// buffer that grows until there is room to spare.
func listTypes(pid int) ([]byte, error) {
	const callPidInfo, listFDs = 2, 1
	for size := 8 * 1024; ; size *= 4 {
		buf := make([]byte, size)
		//nolint:gosec,staticcheck // no wrapper without cgo
		n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, callPidInfo, uintptr(pid), listFDs, 0,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		if errno == unix.ESRCH {
			return nil, ErrGone
		}
		if errno != 0 {
			return nil, fmt.Errorf("list descriptors of process %d: %w", pid, errno)
		}
		if int(n) < size {
			return buf[:n], nil
		}
	}
}

func fdInfo(pid, fd int, flavor uintptr, buf []byte) bool {
	//nolint:gosec,staticcheck // no wrapper without cgo
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, callFDInfo, uintptr(pid), flavor, uintptr(fd),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	return errno == 0 && int(n) == len(buf)
}

func vnode(pid int, d *Descriptor) {
	var buf [vnodeInfoSize]byte
	d.Kind, d.Name = KindFile, "file without a path"
	if !fdInfo(pid, d.FD, vnodePathFlavor, buf[:]) {
		return
	}
	path, _, _ := bytes.Cut(buf[vnodePathAt:], []byte{0})
	d.Target = string(path)
	d.Deleted = binary.NativeEndian.Uint16(buf[vnodeNlinkAt:]) == 0
	if d.Target != "" {
		d.Name = d.Target
	}
	switch binary.NativeEndian.Uint32(buf[vnodeTypeAt:]) { // enum vtype
	case 2:
		d.Kind, d.Deleted = KindDirectory, false
	case 3, 4:
		d.Kind, d.Deleted = deviceKind(d.Target), false
	case 7:
		d.Kind = KindPipe
	default:
		d.Kind = fileKind(d.Target)
	}
}

func socketEnd(pid, fd int) (endpoint, bool) {
	var buf [sockInfoSize]byte
	if !fdInfo(pid, fd, socketFlavor, buf[:]) {
		return endpoint{}, false
	}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(buf[at:]) }
	switch word(sockKindAt) {
	case sockKindTCP:
		e := inetEnd(buf[:])
		e.kind = KindTCP
		switch state := word(sockStateAt); {
		case state == tcpListening:
			e.kind = KindTCPListener
		case state == tcpStateOpen:
		case state == tcpStateCloseWait:
			e.state = "closed by the other side"
		case state == 0:
			e.state = "not connected"
		case state <= tcpStateSynSent+1:
			e.state = "connecting"
		default:
			e.state = "closing"
		}
		return e, true
	case sockKindIn:
		e := inetEnd(buf[:])
		e.kind = KindUDP
		return e, true
	case sockKindUnix:
		path, _, _ := bytes.Cut(buf[sockUnixPathAt:sockUnixPathAt+sockUnixPathSize], []byte{0})
		e := endpoint{kind: KindUnix, local: string(path)}
		if binary.NativeEndian.Uint16(buf[sockOptionsAt:])&sockOptAccepting != 0 {
			e.kind = KindUnixListener
		}
		return e, true
	}
	return endpoint{}, false
}

func inetEnd(buf []byte) endpoint {
	addr := func(portAt, at int) (string, uint16) {
		raw := buf[at : at+16]
		if buf[sockFlagAt]&sockIPv4 != 0 {
			raw = raw[12:]
		}
		ip, _ := netip.AddrFromSlice(raw)
		port := binary.BigEndian.Uint16(buf[portAt:])
		return netip.AddrPortFrom(ip.Unmap(), port).String(), port
	}
	local, port := addr(sockPortAt, sockAddrAt)
	e := endpoint{local: local, localPort: strconv.Itoa(int(port))}
	if remote, port := addr(sockRemotePortAt, sockRemoteAddrAt); port != 0 {
		e.remote = remote
	}
	return e
}
