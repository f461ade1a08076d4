package supervise

import (
	"context"
	"fmt"
	"strings"
)

// Supervisors without timers leave the second line to cron.

// CronLine is the line of a crontab. The comment is the shell's, and by it the
// line is found again.
func (s Spec) CronLine() string {
	words := make([]string, 0, 5)
	for _, w := range s.Doctor() {
		words = append(words, shQuote(w))
	}
	command := strings.Join(words, " ") + " >/dev/null 2>&1 " + s.cronMark()
	// cron takes a percent sign for the end of the line.
	return "* * * * * " + strings.ReplaceAll(command, "%", `\%`)
}

func (s Spec) cronMark() string { return "# " + Mark + " for " + s.Home }

// Cron is the crontab of a user; "" is this process's own.
type Cron struct {
	User string
	run  runner
}

func (c Cron) tab(ctx context.Context, stdin string, args ...string) (string, error) {
	if c.User != "" {
		args = append([]string{"-u", c.User}, args...)
	}
	r := c.run
	if r == nil {
		r = tools{}
	}
	return r.run(ctx, stdin, "crontab", args...)
}

// lines reads the crontab; one that is missing is empty.
func (c Cron) lines(ctx context.Context) ([]string, error) {
	out, err := c.tab(ctx, "", "-l")
	if err != nil {
		if code(err) == 1 && strings.Contains(out, "no crontab") {
			return nil, nil
		}
		return nil, fmt.Errorf("read the crontab: %w", err)
	}
	if out == "" {
		return nil, nil
	}
	return strings.Split(out, "\n"), nil
}

func (c Cron) write(ctx context.Context, lines []string) error {
	if len(lines) == 0 {
		if _, err := c.tab(ctx, "", "-r"); err != nil {
			return fmt.Errorf("remove the empty crontab: %w", err)
		}
		return nil
	}
	if _, err := c.tab(ctx, strings.Join(lines, "\n")+"\n", "-"); err != nil {
		return fmt.Errorf("write the crontab: %w", err)
	}
	return nil
}

// Has tells whether the line stands in the crontab.
func (c Cron) Has(ctx context.Context, line string) bool {
	lines, err := c.lines(ctx)
	if err != nil {
		return false
	}
	for _, l := range lines {
		if l == line {
			return true
		}
	}
	return false
}

// Add puts the line in, in the place of an older one of ours for the same
// state folder.
func (c Cron) Add(ctx context.Context, line string) error {
	lines, err := c.lines(ctx)
	if err != nil {
		return err
	}
	kept, _ := without(lines, line)
	return c.write(ctx, append(kept, line))
}

// Remove takes our line for the same state folder out, and nothing else.
func (c Cron) Remove(ctx context.Context, line string) error {
	lines, err := c.lines(ctx)
	if err != nil {
		return err
	}
	kept, found := without(lines, line)
	if !found {
		return nil
	}
	return c.write(ctx, kept)
}

// without leaves out the lines that end with the same mark.
func without(lines []string, line string) (kept []string, found bool) {
	i := strings.Index(line, "# "+Mark)
	if i < 0 {
		return lines, false
	}
	for _, l := range lines {
		if strings.HasSuffix(l, line[i:]) {
			found = true
			continue
		}
		kept = append(kept, l)
	}
	return kept, found
}
