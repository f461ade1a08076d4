//nolint:revive // what a function of these says is its sentence
package said

import (
	"fmt"
	"strings"
	"time"
)

// What is wrong with the host: its health and the findings of its ledger.

// SafeMode says why no agent is started: after so many ends by a fault, the
// last one at a time and, where it is known, for a reason.
func SafeMode(ends, minutes int, at time.Time, why string) Words {
	text := fmt.Sprintf("The host ended by a fault more than %d times within %d minutes, the last time at %s", ends, minutes, at.Format("15:04:05"))
	with := args{"ends": ends, "minutes": minutes, "at": at}
	if why != "" {
		text += " (" + why + ")"
		with["why"] = why
	}
	return say("safe_mode", text+". It is in safe mode: sessions can be read, no agent is started or resumed. `holdfast restart` ends that.", with)
}

// NotStored is of a store that cannot commit.
func NotStored(why string) Words {
	why = strings.TrimRight(why, ".")
	return say("not_stored", "Nothing can be stored: "+why+".", args{"why": why})
}

// Writes is a write of the host's that does not come to its end.
type Writes struct {
	Since   time.Duration // how long it has been waiting
	Failed  error         // it failed, and waits no more
	Disk    string        // its name
	Stalled bool          // the disk gives no answer
	DiskErr error         // the disk refuses
}

// Stuck says so, and whose fault it is.
func (w Writes) Stuck() Words {
	text := fmt.Sprintf("A write has been waiting for %s", w.Since.Round(time.Second))
	with := args{"disk": w.Disk, "seconds": int(w.Since.Round(time.Second).Seconds())}
	if w.Failed != nil {
		text = fmt.Sprintf("A write failed (%v)", w.Failed)
		with = args{"disk": w.Disk, "why": w.Failed.Error()}
	}
	const over = ". What agents say waits in their spools."
	switch {
	case w.Stalled:
		return say("writes_stuck_disk", text+fmt.Sprintf(": the disk %s does not take writes", w.Disk)+over, with)
	case w.DiskErr != nil:
		with["disk_why"] = w.DiskErr.Error()
		return say("writes_stuck_disk", text+fmt.Sprintf(": the disk %s does not take writes (%v)", w.Disk, w.DiskErr)+over, with)
	}
	return say("writes_stuck", text+fmt.Sprintf(": the database on the disk %s does not take writes, though the disk does", w.Disk)+over, with)
}

// DiskStalled is of a disk that gives no answer.
func DiskStalled(disk string) Words {
	return say("disk_stalled", fmt.Sprintf("The disk %s does not take writes.", disk), args{"disk": disk})
}

// Deaf is of a host that misses its own questions.
func Deaf(why string) Words {
	return say("host_deaf", "The host does not answer itself in time: "+why+".", args{"why": why})
}

// What a deep look at the health finds.

func ProbeBroke() Words {
	return say("probe_broke", "The probe broke.", nil)
}

func ListUnreadable() Words {
	return say("list_unreadable", "The list of sessions cannot be read.", nil)
}

func DiskSlow() Words {
	return say("disk_slow", "The disk does not take writes, or is very slow.", nil)
}

// The ledger's.

// Twice is of more than twice the descriptors that are expected.
func Twice(open, expected int, most string) Words {
	return say("descriptors_twice", fmt.Sprintf("The host has %d open descriptors and expects %d. Most are: %s.", open, expected, most),
		args{"open": open, "expected": expected, "most": most})
}

// Growth is of descriptors that nobody explains and that grow.
func Growth(unexplained int, grew string) Words {
	return say("descriptors_leak", fmt.Sprintf("The host leaks descriptors: %d that no part of it explains, and they grow. What grew: %s.", unexplained, grew),
		args{"n": unexplained, "grew": grew})
}

// OwnerLeak is of a part of the host that holds more than its bound.
func OwnerLeak(owner string, held int, kind string, limit int) Words {
	return say("owner_leak", fmt.Sprintf("A leak inside %s: it holds %d descriptors (%s), and must never hold more than %d.", owner, held, kind, limit),
		args{"owner": owner, "held": held, "kind": kind, "limit": limit})
}

// NearLimit and AtLimit are of a host that has few descriptors left; shares are
// in percent.
func NearLimit(open, limit, share int) Words {
	return say("descriptors_near", fmt.Sprintf("The host has %d of %d descriptors open. At %d %% it refuses new streams.", open, limit, share),
		args{"open": open, "limit": limit, "share": share})
}

func AtLimit(open, limit, share int) Words {
	return say("descriptors_full", fmt.Sprintf("The host has %d of %d descriptors open: new streams are refused and idle agents are ended until it is under %d %%.", open, limit, share),
		args{"open": open, "limit": limit, "share": share})
}

// Memory is of a host over its budget.
func Memory(used, budget int64) Words {
	return say("memory", fmt.Sprintf("The host uses %s of memory, more than the %s that it should need.", Size(used), Size(budget)),
		args{"bytes": used, "limit_bytes": budget})
}

// Goroutines is of twice as many as are expected.
func Goroutines(n, expected int) Words {
	return say("goroutines", fmt.Sprintf("The host has %d goroutines and expects %d.", n, expected), args{"n": n, "expected": expected})
}

// WAL is of a database's log that is not taken in.
func WAL(length int64) Words {
	return say("wal", fmt.Sprintf("The database's log is %s long: a reader that does not end keeps it from being taken in, or the disk is too slow.", Size(length)),
		args{"bytes": length})
}

// DiskLow and DiskReadOnly are of a disk that is nearly full; least is where
// nothing new is taken, back from where it is again.
func DiskLow(free, least int64) Words {
	return say("disk_low", fmt.Sprintf("The disk of the state folder has %s left. Under %s no new messages are taken. Free some space.", Size(free), Size(least)),
		args{"bytes": free, "least_bytes": least})
}

func DiskReadOnly(free, back int64) Words {
	return say("disk_read_only", fmt.Sprintf("The disk of the state folder has only %s left, so no new sessions, messages or attachments are taken; what agents are at work on goes on. Free some space: it goes on by itself from %s.", Size(free), Size(back)),
		args{"bytes": free, "back_bytes": back})
}

// Agents is of live agents that hold more than they should together, and of
// the one that holds most.
func Agents(held, expected int, name, title string, mostHeld int, most string) Words {
	return say("agents_descriptors", fmt.Sprintf("The live agents hold %d descriptors and should hold %d. Most are those of %s in “%s”: %d (%s).", held, expected, name, title, mostHeld, most),
		args{"held": held, "expected": expected, "name": name, "title": title, "most_held": mostHeld, "most": most})
}
