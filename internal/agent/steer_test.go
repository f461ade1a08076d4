package agent

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/config"
)

func TestOutcome(t *testing.T) {
	long := strings.Repeat("ü", 81)
	for _, tt := range []struct {
		said, text string
		want       Outcome
	}{
		{"⏩ Steer queued for the active turn: be brief", " be brief\n", Taken},
		{"⏩ Steer queued for the active turn: " + strings.Repeat("ü", 80) + "...", long, Taken},
		{"⏩ Steer queued for the active turn: " + strings.Repeat("ü", 80), long[:160], Taken},
		{"⏩ Steer queued for the active turn: be brief", "be long", NoOutcome},
		{"⏩ Steer queued for the active turn: be brief, as it says", "be brief", NoOutcome},
		{"No active turn — queued for the next turn. (2 queued)", "be brief", Queued},
		{"⚠️ Steer failed: no lock", "be brief", Refused},
		{"be brief", "be brief", NoOutcome},
		{"", "be brief", NoOutcome},
	} {
		s := hermesSteering()
		if got := s.Outcome(tt.said, tt.text); got != tt.want {
			t.Errorf("%q of %q is %d, want %d", tt.said, tt.text, got, tt.want)
		}
		if tt.want != NoOutcome && !s.Speaks(tt.said) {
			t.Errorf("%q does not speak", tt.said)
		}
	}
	if (Steering{}).Outcome("", "a") != NoOutcome || (Steering{}).Speaks("") {
		t.Error("an agent that cannot be steered speaks of it")
	}
}

func TestWhoCanBeSteered(t *testing.T) {
	c := New(Options{Configured: map[string]config.Agent{
		"hermes": {Command: []string{"ssh", "mini", "hermes-acp"}}, "mine": {Command: []string{"mine"}},
	}})
	defer c.Close()
	for id, want := range map[string]string{"hermes": "steer", "mine": "", "opencode": "", "unknown": ""} {
		if got := c.Steering(id).Command; got != want {
			t.Errorf("%s is steered by %q, want %q", id, got, want)
		}
	}
}
