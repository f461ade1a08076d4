package proc

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestListeners looks at sockets of this process, and at one that a child has
// as well.
func TestListeners(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0", "0.0.0.0:0"} {
		t.Run(addr, func(t *testing.T) {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				t.Skipf("%v", err)
			}
			defer l.Close()
			port := l.Addr().(*net.TCPAddr).Port
			got, err := Listeners(port)
			if err != nil || len(got) != 1 {
				t.Fatalf("%+v %v", got, err)
			}
			me, err := Self()
			if err != nil {
				t.Fatal(err)
			}
			h := got[0]
			if h.ID != me || h.UID != os.Getuid() || !slices.Equal(h.Args, os.Args) || h.Command == "" || time.Since(h.Since) > time.Hour || time.Since(h.Since) < 0 {
				t.Errorf("%+v", h)
			}
			want := l.Addr().String()
			if h.Address != want && !(strings.HasPrefix(addr, "0.0.0.0") && h.Address == strings.Replace(want, "[::]", "0.0.0.0", 1)) {
				t.Errorf("address %s, want %s", h.Address, want)
			}

			f, err := l.(*net.TCPListener).File()
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			child := exec.Command("sleep", "30")
			child.ExtraFiles = []*os.File{f}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = child.Process.Kill()
				_ = child.Wait()
			}()
			if got, err = Listeners(port); err != nil || !slices.ContainsFunc(got, func(h Holder) bool { return h.PID == child.Process.Pid && h.Command == "sleep" }) {
				t.Errorf("who shares it is not seen: %+v %v", got, err)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got, err := Listeners(l.Addr().(*net.TCPAddr).Port); err != nil || len(got) != 0 {
		t.Errorf("of a closed one: %+v %v", got, err)
	}
}

func TestParseSocketAddr(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tcp")
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:2253 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000000000000000000001000000:2253 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 4713 1 0 100 0 0 10 0
   3: 0000000000000000FFFF00000100007F:2254 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 4714 1 0 100 0 0 10 0
   4: nonsense
`
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := listening(path, 8787)
	if err != nil || len(got) != 2 || got[0].Address != "127.0.0.1:8787" || got[0].inode != "4711" || got[0].UID != 1000 || got[1].Address != "[::1]:8787" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err = listening(path, 8788); err != nil || len(got) != 1 || got[0].Address != "127.0.0.1:8788" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err = listening(path+".none", 1); err != nil || got != nil {
		t.Errorf("%+v %v", got, err)
	}
}
