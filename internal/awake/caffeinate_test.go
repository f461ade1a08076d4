//go:build !windows

package awake

import "testing"

func TestMainsFromPmset(t *testing.T) {
	for text, want := range map[string]bool{
		"Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00 remaining present: true\n": true,
		"Now drawing from 'AC Power'\n": true, // a Mac mini
		"Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t80%; discharging;\n": false,
		"Now drawing from 'UPS Power'\n": false,
	} {
		if got, err := mainsFromPmset([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := mainsFromPmset([]byte("pmset: not today\n")); err == nil {
		t.Error("nonsense was understood")
	}
}
