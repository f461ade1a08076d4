package session

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// TestPlace: a mode and a model go to where the agent has them.
func TestPlace(t *testing.T) {
	const older = `{"modes":{"currentModeId":"a","availableModes":[{"id":"a"},{"id":"b"}]},"models":{"currentModelId":"x","availableModels":[{"modelId":"x"}]}`
	const newer = `"config":[{"id":"m","category":"mode","type":"select","options":[{"value":"b"}]},{"id":"w","category":"model","type":"select","options":[{"value":"y"}]}]`
	both := Choice{Mode: "b", Model: "y"}
	config := map[string]json.RawMessage{"m": json.RawMessage(`"b"`), "w": json.RawMessage(`"y"`)}
	for _, c := range []struct {
		name, options string
		in, want      Choice
	}{
		{"nothing is known", ``, both, both},
		{"ACP's own modes and models", older + `}`, both, both},
		{"options for both", `{` + newer + `}`, both, Choice{Config: config}},
		{"both ways", older + `,` + newer + `}`, both, both},
		{
			"the option was chosen, too", `{` + newer + `}`,
			Choice{Model: "y", Config: map[string]json.RawMessage{"w": json.RawMessage(`"z"`)}},
			Choice{Config: map[string]json.RawMessage{"w": json.RawMessage(`"z"`)}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, err := optionsOf(store.Session{Options: json.RawMessage(c.options)})
			if err != nil {
				t.Fatal(err)
			}
			got := o.place(c.in)
			if got.empty() {
				t.Fatal("nothing is left")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
