package store

import "golang.org/x/sys/unix"

// netFS names the network or virtual-machine filesystem under folder, or "".
func netFS(folder string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return "", err
	}
	switch kind := unix.ByteSliceToString(st.Fstypename[:]); kind {
	case "nfs", "smbfs", "afpfs", "webdav", "ftp", "virtiofs", "AppleVirtIOFS", "9p", "macfuse", "osxfuse":
		return kind, nil
	}
	return "", nil
}

// Filesystem names the type of the filesystem under folder, such as apfs, or
// "" where that is not known.
func Filesystem(folder string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return ""
	}
	return unix.ByteSliceToString(st.Fstypename[:])
}
