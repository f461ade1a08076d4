package session

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/keeper"
	"github.com/holdfast-dev/holdfast/internal/said"
	"github.com/holdfast-dev/holdfast/internal/store"
)

const (
	// printedKept is how much of what an agent printed is told of, in bytes.
	printedKept = 16 << 10
	// printedWithin is how long a failed run waits for what its agent printed.
	printedWithin = 500 * time.Millisecond
)

// Printed is what a living agent printed last beside the protocol: its log, as
// far as it has one.
type Printed struct {
	Agent     string     `json:"agent"`
	State     string     `json:"state" enum:"starting,ready,ending"`
	StartedAt time.Time  `json:"started_at"`
	Text      string     `json:"text" doc:"The end of it, without the secrets of the agent's environment"`
	Size      uint64     `json:"size" doc:"All that it has printed, in bytes"`
	At        *time.Time `json:"at,omitempty" doc:"When it printed last"`
}

// Printed asks the keeper of the session's agent what that printed. Nothing of
// it is in the log: an agent may print without end.
func (m *Manager) Printed(ctx context.Context, session string) (Printed, error) {
	if _, err := m.Store.Session(ctx, session); err != nil {
		return Printed{}, publicError(err)
	}
	ep, _, err := m.Store.Live(ctx, session)
	if err != nil {
		return Printed{}, err
	}
	m.mu.Lock()
	w := m.live[session]
	m.mu.Unlock()
	if ep.Name == "" || w == nil {
		return Printed{}, &Error{Code: CodeNoAgent, Message: "No agent runs for this session."}
	}
	p := Printed{Agent: ep.Agent, State: ep.State, StartedAt: ep.StartedAt}
	conn := w.conn.Load()
	if conn == nil {
		return p, nil // its keeper is being started, or is about to go
	}
	tail, err := conn.Printed(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, keeper.ErrClosed):
		return p, nil
	case err != nil:
		return Printed{}, err
	}
	p.Size = tail.Size
	if !tail.At.IsZero() {
		p.At = &tail.At
	}
	p.Text = printable(tail.Text, m.agentOf(ep).Env)
	return p, nil
}

// printable is the end of what an agent printed, as it may be shown.
func printable(text []byte, env []string) string {
	s := strings.ToValidUTF8(string(text), "\uFFFD")
	s = hideSecrets(s, env)
	if over := len(s) - printedKept; over > 0 {
		s = s[over:]
		if i := strings.IndexByte(s, '\n'); i >= 0 && i+1 < len(s) {
			s = s[i+1:]
		}
		s = strings.ToValidUTF8(s, "")
	}
	return s
}

const hidden = "[redacted]"

var (
	secretName = regexp.MustCompile(`(?i)key|token|secret|passw|credential`)
	// secretText is what is a secret wherever it stands: what follows Bearer,
	// and keys that say by their beginning what they are.
	secretText = regexp.MustCompile(`(?i)\b(bearer\s+)[a-z0-9._~+/=-]{16,}|\b(sk|pk|rk|ghp|gho|ghs|github_pat|glpat|hf|xox[a-z])[-_][a-z0-9_-]{16,}`)
)

// secretLeast is the length from which a value can be a secret: a shorter one
// would be hidden in the middle of words.
const secretLeast = 8

// hideSecrets takes out what the agent's environment holds under a name that
// says so, and what looks like a key.
func hideSecrets(text string, env []string) string {
	var values []string
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if len(value) >= secretLeast && secretName.MatchString(name) && strings.Contains(text, value) {
			values = append(values, value)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // one may begin another
	for _, v := range values {
		text = strings.ReplaceAll(text, v, hidden)
	}
	return secretText.ReplaceAllString(text, "${1}"+hidden)
}

// askPrinted learns what the agent printed where a batch says that it failed:
// it may go on to live, and nothing else would tell.
func (l *link) askPrinted(ctx context.Context, batch []entry) {
	l.printed = keeper.Tail{}
	if l.conn == nil || !slices.ContainsFunc(batch, func(e entry) bool { return e.msg.IsResponse() && e.msg.Error != nil }) {
		return
	}
	ctx, stop := context.WithTimeout(ctx, printedWithin)
	defer stop()
	tail, err := l.conn.Printed(ctx)
	if err != nil {
		l.log.Debug("ask what the agent printed", "err", err)
		return
	}
	l.printed = tail
}

// printedSince is what the agent printed, if any of it came after since.
func (in *interpreter) printedSince(since time.Time) string {
	if in.l.printed.At.Before(since) {
		return ""
	}
	return printable(in.l.printed.Text, in.l.agent().Env)
}

// noticePrinted keeps what the agent printed with a run that it cut off.
func noticePrinted(tx *store.Tx, session, run, text string) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	return appendNotice(tx, session, run, "warning", said.Printed(), text)
}
