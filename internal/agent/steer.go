package agent

import (
	"strings"
	"unicode/utf8"
)

// Steering is how an agent is told something in the middle of a turn: by a
// prompt that begins with a command of its own, sent while the turn's prompt is
// unanswered. The agent answers it at once, with a text in which it says what
// becomes of it, and which is no part of the turn's answer; the model reads it
// behind the next tool call that ends. What is sent while no turn is under way
// is an ordinary prompt, without the command.
type Steering struct {
	Command string // of those that it advertises, without its slash

	// How the texts begin by which it says so. They stand alone in a chunk.
	taken, queued, refused string
	// preview is how many characters of what was said stand behind taken.
	preview int
}

// Outcome is what an agent says becomes of what it was told.
type Outcome int

// The outcomes.
const (
	NoOutcome Outcome = iota // the text says something else
	Taken                    // the turn reads it behind its next tool call
	Queued                   // the agent itself goes on with it after the turn, within the same prompt
	Refused                  // nothing
)

// Outcome tells whether said, one chunk of the agent's text, is its answer to
// having been told text. The zero Steering knows of none.
func (s Steering) Outcome(said, text string) Outcome {
	switch {
	case s.Command == "":
		return NoOutcome
	case strings.HasPrefix(said, s.taken):
		if s.taken+preview(strings.TrimSpace(text), s.preview) == said {
			return Taken
		}
	case strings.HasPrefix(said, s.queued):
		return Queued
	case strings.HasPrefix(said, s.refused):
		return Refused
	}
	return NoOutcome
}

// Speaks tells whether the text may be such an answer, so that most chunks of a
// stream cost nothing.
func (s Steering) Speaks(said string) bool {
	return s.Command != "" && (strings.HasPrefix(said, s.taken) || strings.HasPrefix(said, s.queued) || strings.HasPrefix(said, s.refused))
}

// preview is the first n characters of a text, and dots where it has more.
func preview(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n]) + "..."
}

// hermesSteering is that of Hermes Agent 0.19.0, read in source and seen. What
// a turn did not come to read is dropped with its end.
func hermesSteering() Steering {
	return Steering{
		Command: "steer",
		taken:   "⏩ Steer queued for the active turn: ",
		queued:  "No active turn — queued for the next turn. (",
		refused: "⚠️ Steer failed: ",
		preview: 80,
	}
}

// Steering is how a run of the agent with the id is steered; its zero value
// where it cannot be. It asks neither the disk nor the login shell.
func (c *Catalogue) Steering(id string) Steering {
	e, _ := c.entry(id)
	return e.Steering
}
