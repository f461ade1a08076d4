package agent

import (
	"strings"
	"testing"
)

func TestWays(t *testing.T) {
	ways := Ways()
	if len(ways) != len(catalogue()) || ways[0].ID != "hermes" {
		t.Fatalf("%+v", ways)
	}
	for _, w := range ways {
		if w.ID == "" || w.Name == "" || !strings.HasPrefix(w.Page, "https://") {
			t.Errorf("%+v", w)
		}
		e, _ := lookUp(w.ID)
		if w.Command != "" && e.Install != "Install it with: "+w.Command || w.Command == "" && !strings.HasSuffix(e.Install, w.Page) {
			t.Errorf("%s: %q", w.ID, e.Install)
		}
	}
}
