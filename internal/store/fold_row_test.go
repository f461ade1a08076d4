package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFoldRow(t *testing.T) {
	type look struct {
		State   string
		Run     string
		Waiting int
		Queued  int
		Reason  string
	}
	run := func(kind Kind, id, reason string) Event {
		body, _ := encode(RunBody{Run: id, Reason: reason})
		return Event{Kind: kind, Body: body}
	}
	ask := Event{Kind: ApprovalRequested, Body: []byte(`{}`)}
	answer := Event{Kind: ApprovalResolved, Body: []byte(`{}`)}
	late := Event{Kind: ApprovalResolved, Body: []byte(`{"late":true}`)}
	for _, tt := range []struct {
		name   string
		events []Event
		want   look
	}{
		{"nothing", nil, look{State: StateIdle}},
		{"queued", []Event{run(RunQueued, "a", "")}, look{State: StateQueued, Queued: 1}},
		{"queued twice", []Event{run(RunQueued, "a", ""), run(RunQueued, "a", "")}, look{State: StateQueued, Queued: 1}},
		{"started", []Event{run(RunQueued, "a", ""), run(RunStarted, "a", "")}, look{State: StateRunning, Run: "a"}},
		{"started at once", []Event{run(RunStarted, "a", "")}, look{State: StateRunning, Run: "a"}},
		{"waits for a person", []Event{run(RunStarted, "a", ""), ask, ask, answer}, look{State: StateWaiting, Run: "a", Waiting: 1}},
		{"answered", []Event{run(RunStarted, "a", ""), ask, answer}, look{State: StateRunning, Run: "a"}},
		{"answered, but too late", []Event{run(RunStarted, "a", ""), ask, answer, late}, look{State: StateRunning, Run: "a"}},
		{"ended", []Event{run(RunStarted, "a", ""), run(RunEnded, "a", EndTurn)}, look{State: StateIdle, Reason: EndTurn}},
		{"failed, others wait", []Event{run(RunStarted, "a", ""), run(RunQueued, "b", ""), run(RunEnded, "a", Failed)}, look{State: StateFailed, Queued: 1, Reason: Failed}},
		{"interrupted", []Event{run(RunStarted, "a", ""), run(RunEnded, "a", Interrupted)}, look{State: StateInterrupted, Reason: Interrupted}},
		{"interrupted, next queued", []Event{run(RunStarted, "a", ""), run(RunEnded, "a", Interrupted), run(RunQueued, "b", "")}, look{State: StateInterrupted, Queued: 1, Reason: Interrupted}},
		{"interrupted, next started", []Event{run(RunStarted, "a", ""), run(RunEnded, "a", Interrupted), run(RunStarted, "b", "")}, look{State: StateRunning, Run: "b"}},
		{"taken out of the queue", []Event{run(RunStarted, "a", ""), run(RunEnded, "a", Failed), run(RunQueued, "b", ""), run(RunEnded, "b", Cancelled)}, look{State: StateFailed, Reason: Failed}},
		{"failed before it started", []Event{run(RunQueued, "a", ""), run(RunEnded, "a", Failed)}, look{State: StateFailed, Reason: Failed}},
		{"back to the queue", []Event{run(RunStarted, "a", ""), run(RunQueued, "a", "")}, look{State: StateQueued, Queued: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r Session
			r.State = rowState(r)
			for i, ev := range tt.events {
				ev.Seq, ev.ID = int64(i+1), int64(i+10)
				before := r
				after, err := foldRow(r, ev)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(before, r); diff != "" {
					t.Fatalf("the row before was changed: %s", diff)
				}
				r = after
			}
			if diff := cmp.Diff(tt.want, look{r.State, r.Run, r.Waiting, r.Queued, r.Reason}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFoldOptionsKeepsWhatIsNotNamed(t *testing.T) {
	got, err := foldOptions([]byte(`{"modes":[1],"commands":[2]}`), []byte(`{"modes":[3],"models":{"a":1},"commands":null}`))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"modes":[3],"models":{"a":1},"commands":[2]}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
