package proc

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The layout of struct socket_fdinfo (sys/proc_info.h), of which the kernel
// says the size, and what is wanted of it.
const (
	sockInfoSize = 792
	sockKindAt   = 256
	sockPortAt   = 268 // of this side, in the network's order
	sockFlagAt   = 288 // which kind of address
	sockAddrAt   = 312 // 16 bytes; an IPv4 one in the last four
	sockStateAt  = 344

	sockKindTCP  = 2
	sockIPv4     = 1
	tcpListening = 1
)

// Listeners tells who listens on the TCP port, on any address. Of processes of
// other users nothing is seen, unless we are root. Processes that share one
// socket are all listed.
func Listeners(port int) ([]Holder, error) {
	all, err := All()
	if err != nil {
		return nil, err
	}
	var holders []Holder
	for _, p := range all {
		fds, err := Descriptors(p.PID)
		if err != nil {
			continue // another user's, or gone
		}
		seen := map[string]bool{}
		for _, fd := range fds {
			addr, ok := listenAddr(p.PID, fd.FD)
			if !ok || int(addr.Port()) != port {
				continue
			}
			h := Holder{ID: p.ID, Command: p.Command, UID: -1, Address: net.JoinHostPort(addr.Addr().Unmap().String(), strconv.Itoa(port))}
			if seen[h.Address] {
				continue
			}
			seen[h.Address] = true
			if k, err := unix.SysctlKinfoProc("kern.proc.pid", p.PID); err == nil {
				h.UID = int(k.Eproc.Ucred.Uid)
			}
			h.Since, _ = StartedAt(p.ID) // what is not known stays empty
			h.Args, _ = Args(p.PID)
			holders = append(holders, h)
		}
	}
	return holders, nil
}

// listenAddr returns the address on which a descriptor listens, if it does.
func listenAddr(pid, fd int) (netip.AddrPort, bool) {
	const callPidFDInfo, socketInfo = 3, 3
	var buf [sockInfoSize]byte
	//nolint:gosec,staticcheck // no wrapper without cgo
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, callPidFDInfo, uintptr(pid), socketInfo, uintptr(fd),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	if errno != 0 || n != sockInfoSize {
		return netip.AddrPort{}, false
	}
	word := func(at int) uint32 { return binary.NativeEndian.Uint32(buf[at:]) }
	if word(sockKindAt) != sockKindTCP || word(sockStateAt) != tcpListening {
		return netip.AddrPort{}, false
	}
	raw := buf[sockAddrAt : sockAddrAt+16]
	if buf[sockFlagAt]&sockIPv4 != 0 {
		raw = raw[12:]
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(buf[sockPortAt:])), ok
}
