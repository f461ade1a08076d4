package store

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Magic numbers of statfs(2) that x/sys does not name.
const (
	magicSMB  = 0x517b
	magicCIFS = 0xff534d42
	magicSMB2 = 0xfe534d42
	magic9P   = 0x01021997
	magicFUSE = 0x65735546
	magicAFS  = 0x5346414f
	magicCeph = 0x00c36400
	magicCoda = 0x73757245
	magicNFS  = 0x6969
	magicGFS2 = 0x01161970
	magicVBox = 0x786f4256
)

// netFS names the network or virtual-machine filesystem under folder, or "".
func netFS(folder string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return "", err
	}
	switch uint32(st.Type) {
	case magicNFS:
		return "nfs", nil
	case magicSMB, magicCIFS, magicSMB2:
		return "smb", nil
	case magic9P:
		return "9p", nil
	case magicAFS:
		return "afs", nil
	case magicCeph:
		return "ceph", nil
	case magicCoda:
		return "coda", nil
	case magicGFS2:
		return "gfs2", nil
	case magicVBox:
		return "vboxsf", nil
	case magicFUSE:
		// virtiofs has FUSE's number; a mount of it over a network is told
		// from a local one (ntfs-3g, ecryptfs) by the mount's type only.
		return fuseType(folder), nil
	}
	return "", nil
}

// Filesystem names the type of the filesystem under folder, such as ext4, or
// "" where that is not known.
func Filesystem(folder string) string {
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return ""
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return mountKind(string(table), real)
}

// fuseType names the FUSE filesystem of folder where it is one that goes over
// a network or a hypervisor, or "".
func fuseType(folder string) string { return remote(Filesystem(folder)) }

// mountKind is the type of what is mounted over folder.
func mountKind(table, folder string) string {
	best, kind := -1, ""
	for line := range strings.Lines(table) {
		left, right, ok := strings.Cut(line, " - ")
		f := strings.Fields(left)
		r := strings.Fields(right)
		if !ok || len(f) < 5 || len(r) < 1 {
			continue
		}
		point := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(f[4])
		inside := point == "/" || folder == point || strings.HasPrefix(folder, point+"/")
		if inside && len(point) >= best { // a later mount covers an earlier one
			best, kind = len(point), r[0]
		}
	}
	return kind
}

// remote returns the type of a FUSE filesystem that goes over a network or a
// hypervisor, and "" for any other.
func remote(kind string) string {
	for _, r := range []string{
		"virtiofs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs",
		"fuse.grpcfuse", "fuse.osxfs", "fuse.davfs", "fuse.gcsfuse", "fuse.google-drive-ocamlfuse", "fuse.vmhgfs-fuse",
	} {
		if kind == r {
			return kind
		}
	}
	return ""
}
