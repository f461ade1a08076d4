package proc

import (
	"strings"
	"testing"
)

func TestParseStat(t *testing.T) {
	const rest = " S 10 20 30 34816 20 4194304 1 0 0 0 2 3 0 0 20 0 1 0 98765 1000000 512 18446744073709551615 1 1"
	for _, command := range []string{"sh", "a) S 1 2 (b", "", "tmux: server", "(sd-pam)"} {
		p, err := parseStat([]byte("42 (" + command + ")" + rest))
		if err != nil {
			t.Fatal(err)
		}
		if p.PID != 42 || p.Command != command || p.Parent != 10 || p.Group != 20 || p.Session != 30 ||
			p.Start != 98765 || p.RSS == 0 || p.Zombie {
			t.Errorf("%q: %+v", command, p)
		}
	}
	if p, err := parseStat([]byte("42 (x)" + strings.Replace(rest, "S", "Z", 1))); err != nil || !p.Zombie {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "42", "42 (x", "42 (x) S 1", "42 )x(" + rest, "x (x)" + rest} {
		if p, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}
