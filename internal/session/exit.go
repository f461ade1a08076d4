package session

import (
	"encoding/json"
	"fmt"

	"github.com/holdfast-dev/holdfast/internal/keeper"
)

// exitWords says how an agent ended, for a person.
func exitWords(name string, e keeper.Exit) string {
	switch e.Reason {
	case keeper.ReasonStart:
		return fmt.Sprintf("%s could not be started: %s", name, e.Error)
	case keeper.ReasonLease:
		return fmt.Sprintf("%s was ended because no host had come back for it in time.", name)
	case keeper.ReasonAsked:
		return fmt.Sprintf("%s was ended on request.", name)
	case keeper.ReasonSignal:
		return fmt.Sprintf("%s was ended because its keeper was told to stop.", name)
	}
	if e.Signal != "" {
		return fmt.Sprintf("%s ended by itself: signal %s.", name, e.Signal)
	}
	return fmt.Sprintf("%s ended by itself with exit code %d.", name, e.Code)
}

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
