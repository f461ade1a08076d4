package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/config"
	"github.com/holdfast-dev/holdfast/internal/doctor"
)

func TestShowChecks(t *testing.T) {
	checks := []doctor.Check{
		doctor.Okf(doctor.GroupMachine, "system", "Linux\x1b[2J"),
		doctor.Warnf(doctor.GroupStore, "write-ahead log", "Wait a moment, then look again, and again", "it is long and has been so for quite a while now"),
	}
	want := `Machine
  ok       system           Linux [2J

Store
  warning  write-ahead log  it is long and has been so for quite a while now
                            → Wait a moment, then look again, and again

Nothing failed, 1 warning.
`
	if got := show(checks, false, 0); got != want {
		t.Errorf("got:\n%s", got)
	}
	for line := range strings.Lines(show(checks, false, 70)) {
		if n := len([]rune(line)); n > 70 {
			t.Errorf("a line of %d for a terminal of 70: %q", n, line)
		}
	}
	if got := show(checks, true, 0); !strings.Contains(got, "\x1b[33mwarning\x1b[0m") || strings.Contains(got, "\x1b[2J") {
		t.Errorf("in colour: %q", got)
	}
	if got := show(checks[:1], false, 0); !strings.HasSuffix(got, "All is well.\n") {
		t.Error(got)
	}
	checks = append(checks, doctor.Failf(doctor.GroupAgents, "x", "Do", "no"))
	if got := show(checks, false, 0); !strings.HasSuffix(got, "1 failed, 1 warning.\n") {
		t.Error(got)
	}
}

// A host that begins to look and falls silent, or is too old to look, is not
// waited for: this process looks instead, and what the host said is dropped.
func TestDoctorGoesOnWithoutTheHost(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		state  doctor.State
		seen   string
	}{
		"silent": {func(w http.ResponseWriter, r *http.Request) {
			half := doctor.Okf(doctor.GroupAgents, "half", "said")
			_ = json.NewEncoder(w).Encode(doctor.Line{Check: &half})
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, doctor.Failed, "said nothing for"},
		"old":   {http.NotFound, doctor.Warning, "too old"},
		"broke": {func(http.ResponseWriter, *http.Request) {}, doctor.Failed, "could not look"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /control/status", func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(map[string]any{"version": "0.9.0", "exe": "/elsewhere", "awake": "not available: no logind"})
			})
			mux.HandleFunc("POST /control/doctor", c.answer)
			b.listen(mux)
			b.p.Examine = func(_ context.Context, _ *config.Config, in doctor.Request, _ Here, tell func(doctor.Line)) error {
				here := doctor.Okf(doctor.GroupAgents, "here", "agents %t", in.Agents)
				tell(doctor.Line{Check: &here})
				return nil
			}
			_, out, problem := b.run("doctor", "--json", "--silence", "400ms")
			var got struct{ Checks []doctor.Check }
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v\n%s%s", err, out, problem)
			}
			seen := map[string]doctor.Check{}
			for _, c := range got.Checks {
				seen[c.Name] = c
			}
			if in := seen["inside"]; in.State != c.state || !strings.Contains(in.Seen, c.seen) {
				t.Errorf("%+v", in)
			}
			if seen["half"].Name != "" || seen["here"].Seen != "agents true" {
				t.Errorf("%s", out)
			}
			if v := seen["version"]; v.State != doctor.Warning || !strings.Contains(v.Remedy, "holdfast upgrade --from") {
				t.Errorf("%+v", v)
			}
			if v := seen["awake"]; v.State != doctor.Warning || !strings.Contains(v.Seen, "no logind") {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestDiffers(t *testing.T) {
	old := "# Holdfast\nEnvironment=PATH=/usr/bin:/bin\nEnvironment=SHELL=/bin/sh\nRestart=always\n"
	now := "# Holdfast\nEnvironment=PATH=/opt/bin\nEnvironment=SHELL=/bin/zsh\nRestart=on-failure\nOOMPolicy=continue\n"
	if n, first := differs(old, now); n != 3 || first != "it has Restart=always" {
		t.Errorf("%d, %q", n, first)
	}
	if n, _ := differs(old, strings.Replace(old, "/usr/bin:/bin", "/else", 1)); n != 0 {
		t.Errorf("another shell's PATH counts: %d", n)
	}
	plist := "<key>PATH</key>\n<string>/usr/bin:/bin</string>\n<string>--addr</string>\n<string>127.0.0.1:9</string>\n"
	if n, _ := differs(plist, strings.Replace(plist, "/usr/bin", "/x", 1)); n != 0 {
		t.Errorf("another shell's PATH counts in a plist: %d", n)
	}
	for text, want := range map[string]string{
		plist: "127.0.0.1:9", "ExecStart=/x serve --addr 0.0.0.0:1 --managed-by y": "0.0.0.0:1", "set -- /x --addr '[::1]:2' --log": "[::1]:2", "command=/x serve": "",
	} {
		got := ""
		if m := addrFlag.FindStringSubmatch(text); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("the address in %q: %q", text, got)
		}
	}
}
