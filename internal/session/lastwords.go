package session

import (
	"encoding/json"

	"github.com/holdfast-dev/holdfast/internal/keeper"
)

// lastWords is what an agent leaves: its epoch's reason, from its exit record
// until the epoch is settled and the reason is in words.
type lastWords struct {
	Exit   *keeper.Exit `json:"exit"`
	Stderr string       `json:"stderr,omitempty"`
}

func (l lastWords) encode() string { return string(mustJSON(l)) }

// lastWordsOf reads them back; there are none where the keeper left no exit
// record.
func lastWordsOf(reason string) (l lastWords) {
	if json.Unmarshal([]byte(reason), &l) != nil {
		return lastWords{}
	}
	return l
}
