package store

import "testing"

func TestMountType(t *testing.T) {
	const table = `21 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
30 21 0:30 / /home rw - ext4 /dev/vdb rw
31 30 0:31 / /home/me/remote\040disk rw - fuse.sshfs me@host: rw
32 21 0:32 / /share rw shared:1 master:2 - virtiofs share rw
33 21 0:33 / /usb rw - fuseblk /dev/sdb1 rw
`
	for folder, want := range map[string]string{
		"/home/me":                      "",
		"/home/me/remote disk":          "fuse.sshfs",
		"/home/me/remote disk/holdfast": "fuse.sshfs",
		"/home/me/remote disks":         "",
		"/share/x":                      "virtiofs",
		"/usb/x":                        "",
		"/":                             "",
	} {
		if got := remote(mountKind(table, folder)); got != want {
			t.Errorf("mount of %q is %q, want %q", folder, got, want)
		}
	}
	if got := mountKind(table, "/usb/x"); got != "fuseblk" {
		t.Errorf("/usb/x is on %q", got)
	}
}
