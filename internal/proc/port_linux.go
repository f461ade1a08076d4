package proc

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Listeners tells who listens on the TCP port, on any address. Of processes of
// other users only the socket is seen, unless we are root: they come without an
// ID. Processes that share one socket are all listed.
func Listeners(port int) ([]Holder, error) {
	sockets := map[string]Holder{}
	var order []string
	for _, table := range []string{"tcp", "tcp6"} {
		found, err := listening("/proc/self/net/"+table, port)
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			sockets[s.inode] = s.Holder
			order = append(order, s.inode)
		}
	}
	if len(sockets) == 0 {
		return nil, nil
	}
	all, err := All()
	if err != nil {
		return nil, err
	}
	var holders []Holder
	known := map[string]bool{}
	for _, p := range all {
		fds, err := Descriptors(p.PID)
		if err != nil {
			continue // another user's, or gone
		}
		seen := map[string]bool{}
		for _, fd := range fds {
			inode, ok := strings.CutPrefix(fd.Target, "socket:[")
			inode = strings.TrimSuffix(inode, "]")
			h, listens := sockets[inode]
			if !ok || !listens || seen[inode] {
				continue
			}
			seen[inode], known[inode] = true, true
			h.ID, h.Command = p.ID, p.Command
			h.Since, _ = StartedAt(p.ID) // what is not known stays empty
			h.Args, _ = Args(p.PID)
			holders = append(holders, h)
		}
	}
	for _, inode := range order {
		if !known[inode] {
			holders = append(holders, sockets[inode])
		}
	}
	return holders, nil
}

// socket is a line of the kernel's table.
type socket struct {
	inode string
	Holder
}

// listening reads the sockets that listen on the port. A kernel without the
// protocol has no table.
func listening(path string, port int) ([]socket, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read listening sockets: %w", err)
	}
	defer f.Close()
	var found []socket
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
		fields := strings.Fields(lines.Text())
		const listen = "0A"
		if len(fields) < 10 || fields[3] != listen {
			continue
		}
		addr, err := parseSocketAddr(fields[1])
		if err != nil || int(addr.Port()) != port {
			continue // the first line is the table's head
		}
		uid, err := strconv.Atoi(fields[7])
		if err != nil {
			continue
		}
		host := addr.Addr().Unmap().String()
		found = append(found, socket{inode: fields[9], Holder: Holder{UID: uid, Address: net.JoinHostPort(host, strconv.Itoa(port))}})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read listening sockets: %w", err)
	}
	return found, nil
}

// parseSocketAddr reads an address of the table: words of four bytes in the
// machine's order, as hexadecimal digits, and the port.
func parseSocketAddr(text string) (netip.AddrPort, error) {
	words, portText, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(words)
	port, err2 := strconv.ParseUint(portText, 16, 16)
	if err = errors.Join(err, err2); err != nil || !ok || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("parse socket address %.60q: %w", text, err)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
