package supervise

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnitText(t *testing.T) {
	for _, u := range []Unit{
		{Manager: Launchd, Name: "dev.holdfast"},
		{Manager: Launchd, System: true, Name: "dev.holdfast"},
		{Manager: Systemd, Name: "holdfast.service"},
		{Manager: Systemd, System: true, Name: "holdfast@ada.service"},
		{Manager: Runit, Name: "holdfast", Dir: "/etc/service/holdfast"},
		{Manager: S6, Name: "web app", Dir: "/run/service/web app"},
		{Manager: Daemontools, Name: "holdfast", Dir: "/service/holdfast"},
		{Manager: Supervisord, Name: "holdfast"},
		{Manager: Supervisord, Name: "agents:holdfast", Server: "http://127.0.0.1:9001/a?b=c&d"},
	} {
		got, err := ParseUnit(u.String())
		if diff := cmp.Diff(u, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", u, err, diff)
		}
	}
	for _, text := range []string{"", "runit", "runit:", "runit:relative", "systemd:holdfast", "systemd:global:x", "upstart:x", "launchd:user:"} {
		if u, err := ParseUnit(text); err == nil {
			t.Errorf("%q was read as %+v", text, u)
		}
	}
}
