package session

import (
	"encoding/json"

	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/said"
)

// exitWords says how an agent ended.
func exitWords(name string, e keeper.Exit) said.Words {
	switch e.Reason {
	case keeper.ReasonStart:
		return said.NotStarted(name, e.Error)
	case keeper.ReasonLease:
		return said.LeftAlone(name)
	case keeper.ReasonAsked:
		return said.EndedOnRequest(name)
	case keeper.ReasonSignal:
		return said.KeeperStopped(name)
	}
	if e.Signal != "" {
		return said.Signalled(name, e.Signal)
	}
	return said.Exited(name, e.Code)
}

// troubleWords says what a keeper suffers; of a kind that this host does not
// know it has the keeper's words.
func troubleWords(st keeper.Status) said.Words {
	switch st.Kind {
	case keeper.StatusSpoolFull:
		return said.SpoolFull()
	case keeper.StatusDiskFull:
		return said.DiskFull(st.Text)
	case keeper.StatusRecovered:
		return said.Recovered()
	}
	return said.Words{Text: st.Text}
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
