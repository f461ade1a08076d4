package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
	"github.com/holdfast-dev/holdfast/internal/said"
)

// Figures for an agent that nobody has counted, and what is allowed for beyond
// a figure.
const (
	AgentFigure      = 64  // descriptors of an agent and its helpers
	keeperFigure     = 16  // of the keeper: socket, spool, lock, pipes, the runtime's
	budgetTimes      = 4   // an agent over so many times its figure is replaced
	AgentMemory      = 6e9 // bytes of an agent and its helpers
	agentsTwiceTimes = 2
)

// Tree names the processes of one live agent.
type Tree struct {
	Session string
	Title   string
	Agent   string // the id of its kind
	Figure  int    // descriptors that its kind holds; 0 is not known
	Keeper  proc.ID
	Busy    bool
}

// AgentSample is what one keeper and its agent use.
type AgentSample struct {
	Session     string         `json:"session"`
	Title       string         `json:"title"`
	Agent       string         `json:"agent"`
	Busy        bool           `json:"busy"`
	PID         int            `json:"keeper_pid"`
	Descriptors int            `json:"descriptors"`
	Expected    int            `json:"expected"`
	Budget      int            `json:"budget" doc:"Over it the agent is replaced between two runs"`
	Kinds       map[string]int `json:"kinds"`
	Top         []Group        `json:"top"`
	RSS         int64          `json:"rss"`
	Children    int            `json:"children" doc:"Processes below the keeper"`
	CPUS        float64        `json:"cpu_s" doc:"Seconds of processor time of those that live"`
	AgeS        float64        `json:"age_s"`
}

// Trees samples agents. What cannot be read of a process is left out: it may
// have ended, or belong to somebody else.
func Trees(now time.Time, trees []Tree) ([]AgentSample, error) {
	if len(trees) == 0 {
		return []AgentSample{}, nil
	}
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	list := make([]AgentSample, 0, len(trees))
	for _, t := range trees {
		list = append(list, tree(now, t, all))
	}
	return list, nil
}

func tree(now time.Time, t Tree, all []proc.Info) AgentSample {
	figure := cmp.Or(t.Figure, AgentFigure)
	s := AgentSample{
		Session: t.Session, Title: t.Title, Agent: t.Agent, Busy: t.Busy, PID: t.Keeper.PID,
		Expected: figure + keeperFigure, Budget: budgetTimes*figure + keeperFigure, Kinds: map[string]int{},
	}
	i := slices.IndexFunc(all, func(p proc.Info) bool { return p.ID == t.Keeper })
	if i < 0 {
		return s
	}
	if born, err := proc.StartedAt(t.Keeper); err == nil {
		s.AgeS = now.Sub(born).Seconds()
	}
	groups := map[groupKey]int{}
	below := proc.Descendants(all, t.Keeper.PID)
	s.Children = len(below)
	for _, p := range append(below, all[i]) {
		s.RSS += p.RSS
		s.CPUS += p.CPU.Seconds()
		fds, err := proc.Descriptors(p.PID)
		if err != nil {
			continue
		}
		s.Descriptors += len(fds)
		for _, d := range fds {
			k := KindOf(d)
			s.Kinds[k]++
			groups[groupKey{k, pattern(d)}]++
		}
	}
	s.Top = top(groups, topPaths, func(groupKey) bool { return true })
	return s
}

// JudgeAgents holds agents against the figures of their kinds. replace names
// those that are over their budget; they are replaced when they are idle.
func JudgeAgents(list []AgentSample) (found, replace []Finding) {
	total, expected := 0, 0
	for _, a := range list {
		total += a.Descriptors
		expected += a.Expected
	}
	if total > agentsTwiceTimes*expected {
		worst := slices.MaxFunc(list, func(a, b AgentSample) int { return cmp.Compare(a.Descriptors-a.Expected, b.Descriptors-b.Expected) })
		found = append(found, Finding{Subject: worst.Session, Words: said.Agents(
			total, expected, worst.Agent, worst.Title, worst.Descriptors, words(worst.Top[:min(3, len(worst.Top))]))})
	}
	for _, a := range list {
		switch {
		case a.Descriptors > a.Budget:
			most := words(a.Top[:min(1, len(a.Top))])
			replace = append(replace, Finding{Subject: a.Session, Words: said.Replaced(a.Agent, a.Descriptors, a.Budget, most)})
		case a.RSS > AgentMemory:
			replace = append(replace, Finding{Subject: a.Session, Words: said.ReplacedForMemory(a.Agent, a.RSS, AgentMemory)})
		}
	}
	return found, replace
}

// Marks lists the marks that living processes carry and that begin with a
// prefix, with the processes of each.
func Marks(prefix string) (map[string][]proc.Info, error) {
	all, err := proc.All()
	if err != nil {
		return nil, err
	}
	marks := map[string][]proc.Info{}
	for _, p := range all {
		if p.Zombie {
			continue
		}
		if m := proc.MarkOf(p.PID); len(m) > len(prefix) && m[:len(prefix)] == prefix {
			marks[m] = append(marks[m], p)
		}
	}
	return marks, nil
}
