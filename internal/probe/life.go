package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/said"
)

// How a life of the host ended.
const (
	EndAsked   = "asked"   // by a signal or a command
	EndRestart = "restart" // replaced in place by the same binary
	EndUpgrade = "upgrade" // replaced in place by another binary, or given back to the old one
	EndCrash   = "crash"   // the runtime ended it: a panic, a fatal error
	EndKilled  = "killed"  // gone without a word, and the machine was not started anew
	EndReboot  = "reboot"  // gone without a word, and the machine was started anew
	EndProbe   = "probe"   // it found itself deaf and ended itself
	EndFailed  = "failed"  // it could not begin to serve, or could not go on
)

// Ends lists how a life can end.
var Ends = []string{EndAsked, EndRestart, EndUpgrade, EndCrash, EndKilled, EndReboot, EndProbe, EndFailed}

// Life is one life of the host: from the start of its program to its end.
type Life struct {
	Started         time.Time `json:"started"`
	Ended           time.Time `json:"ended" doc:"When it was last seen, where it ended without a word"`
	How             string    `json:"how" enum:"asked,restart,upgrade,crash,killed,reboot,probe,failed"`
	Reason          string    `json:"reason,omitempty"`
	PID             int       `json:"pid"`
	Version         string    `json:"version"`
	Served          bool      `json:"served" doc:"It came to answer requests"`
	Safe            bool      `json:"safe,omitempty" doc:"It began in safe mode"`
	SafeLeft        bool      `json:"safe_left,omitempty" doc:"A person ended the safe mode"`
	PeakMemory      int64     `json:"peak_memory" doc:"Bytes resident at most; 0 where that is not known"`
	PeakDescriptors int       `json:"peak_descriptors" doc:"0 where that is not known"`
	Trace           string    `json:"trace,omitempty" doc:"The beginning of what the runtime wrote when it crashed"`
	File            string    `json:"file,omitempty" doc:"The whole of it, or the dump that was made"`
}

// The files of the record, in the state folder. They are apart from the store,
// and from its own note of its last life: that one settles whether a client's
// cursor still means what it meant, this one tells a person what happened, and
// must do so when the store cannot be opened.
const (
	livesFile = "lives.jsonl" // the lives that have ended, oldest first
	lifeFile  = "life.json"   // the one that is
	traceFile = "runtime.out" // in the crash folder: what the runtime writes when it ends us
)

const (
	keptLives  = 200
	tornLives  = keptLives + 50 // the file is cut back to keptLives when it has so many
	traceBytes = 4 << 10

	// markerBytes is the fixed size of the marker, which is written in place:
	// that needs neither a free descriptor nor room on the disk.
	markerBytes = 4 << 10
)

// A loop of crashes is more than crashLoop of them within crashWindow.
const (
	crashLoop   = 5
	crashWindow = 10 * time.Minute
)

// marker is the file of the life that is.
type marker struct {
	Life

	BootID string `json:"boot_id"`

	// Ends counts every life that has ended, by how: the record of lives is
	// cut, and a count that falls is a restart for who watches it.
	Ends map[string]int `json:"ends,omitempty"`
}

// Recorder keeps the record of this life. Its methods may be called by several
// goroutines; a nil *Recorder does nothing.
type Recorder struct {
	home string
	last *Life // the life before; nil where none is known

	mu    sync.Mutex
	now   marker
	file  *os.File
	lives []Life // ended, oldest first
}

// Born says which life begins.
type Born struct {
	Home    string // the state folder, whose lock is held
	Crash   string // the folder of evidence
	Version string
	BootID  string // "" where it is not known
	Time    time.Time

	// Replaced says that this program took over from the one before by exec, so
	// that one did come to the end that it announced.
	Replaced bool
}

// Begin writes how the last life ended and begins this one. What the runtime
// writes at a crash goes to a file from here on. An error is no reason not to
// start: the Recorder is never nil, and does what it can.
func Begin(b Born) (*Recorder, error) {
	r := &Recorder{home: b.Home}
	r.now = marker{
		Life:   Life{Started: b.Time.UTC(), Ended: b.Time.UTC(), PID: os.Getpid(), Version: b.Version},
		BootID: b.BootID,
	}
	var errs []error
	lives, err := ReadLives(b.Home)
	errs = append(errs, err)
	r.lives = lives
	trace, kept, err := takeTrace(b.Crash)
	errs = append(errs, err)
	if before, ok := readMarker(filepath.Join(b.Home, lifeFile)); ok {
		l := before.conclude(b, trace, kept)
		r.last = &l
		r.now.Ends = before.Ends
		if len(r.now.Ends) == 0 {
			r.now.Ends = countEnds(r.lives)
		}
		r.now.Ends[l.How]++
		r.lives = append(r.lives, l)
		errs = append(errs, appendLife(b.Home, r.lives))
	} else {
		r.now.Ends = countEnds(r.lives)
	}
	r.now.Safe = looping(r.lives, b.Time)
	r.file, err = os.OpenFile(filepath.Join(b.Home, lifeFile), os.O_RDWR|os.O_CREATE, 0o600)
	errs = append(errs, err)
	if r.file != nil {
		errs = append(errs, r.write(true))
	}
	errs = append(errs, catchTrace(b.Crash))
	return r, errors.Join(errs...)
}

// conclude says how the life of a marker ended, for the one that begins.
func (m marker) conclude(b Born, trace, kept string) Life {
	l := m.Life
	rebooted := b.BootID != "" && m.BootID != "" && b.BootID != m.BootID
	switch {
	case trace != "":
		l.How, l.Trace, l.File = EndCrash, trace, kept
		if line, _, _ := bytes.Cut([]byte(trace), []byte("\n")); l.Reason == "" {
			l.Reason = string(line)
		}
	case (l.How == EndRestart || l.How == EndUpgrade) && !b.Replaced:
		l.How, l.Reason = EndKilled, "while it was being replaced"
		if rebooted {
			l.How = EndReboot
		}
	case l.How != "":
	case rebooted:
		l.How = EndReboot
	default:
		l.How = EndKilled
	}
	return l
}

// looping tells whether the lives are a loop of crashes that no person has
// broken: whoever stops, restarts or upgrades a host has seen to it.
func looping(lives []Life, now time.Time) bool {
	crashes := 0
	for _, l := range slices.Backward(lives) {
		switch l.How {
		case EndAsked, EndRestart, EndUpgrade:
			return false
		case EndCrash, EndProbe, EndFailed:
			if now.Sub(l.Ended) > crashWindow {
				return false
			}
			if l.How == EndFailed && !l.Served {
				continue // it started nothing that a safe mode would not start
			}
			if crashes++; crashes > crashLoop {
				return true
			}
		}
		if l.SafeLeft {
			return false
		}
	}
	return false
}

// Last is the life before this one; nil where none is known.
func (r *Recorder) Last() *Life {
	if r == nil {
		return nil
	}
	return r.last
}

// Safe is why this life began in safe mode; without a text where it did not.
func (r *Recorder) Safe() said.Words {
	if r == nil || !r.now.Safe || r.last == nil {
		return said.Words{}
	}
	return said.SafeMode(crashLoop, int(crashWindow.Minutes()), r.last.Ended.Local(), r.last.Reason)
}

// Lives returns the lives that have ended, newest first.
func (r *Recorder) Lives() []Life {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lives := append([]Life{}, r.lives...)
	slices.Reverse(lives)
	return lives
}

// Ends counts the lives before this one by how they ended, those among them
// that the record does not hold any more.
func (r *Recorder) Ends() map[string]int {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.now.Ends)
}

func countEnds(lives []Life) map[string]int {
	ends := map[string]int{}
	for _, l := range lives {
		ends[l.How]++
	}
	return ends
}

// Now returns this life as far as it has come.
func (r *Recorder) Now() Life {
	if r == nil {
		return Life{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.Life
}

// Served says that this life answers requests.
func (r *Recorder) Served() error {
	return r.change(false, func(l *Life) { l.Served = true })
}

// LeftSafe says that a person ended the safe mode: what crashed before does not
// count any more.
func (r *Recorder) LeftSafe() error {
	return r.change(true, func(l *Life) { l.SafeLeft = true })
}

// Mark notes that this life goes on, with what it has used at most.
func (r *Recorder) Mark(now time.Time, descriptors int) error {
	memory := peakMemory()
	return r.change(false, func(l *Life) {
		l.Ended = now.UTC()
		l.PeakMemory = max(l.PeakMemory, memory)
		l.PeakDescriptors = max(l.PeakDescriptors, descriptors)
	})
}

// Ending announces how this life is about to end. What was announced first
// stays, unless this end is one that the first was not: what was asked may still
// fail.
func (r *Recorder) Ending(how, reason, file string) error {
	memory := peakMemory()
	return r.change(true, func(l *Life) {
		if l.How != "" && how != EndFailed && how != EndProbe {
			return
		}
		l.Ended, l.How, l.Reason, l.File = time.Now().UTC(), how, clip(reason, 500), file
		l.PeakMemory = max(l.PeakMemory, memory)
	})
}

func (r *Recorder) change(durable bool, f func(*Life)) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.now.Life)
	if r.file == nil {
		return nil
	}
	return r.write(durable)
}

// write writes the marker in place; r.mu is held, or r is not shared yet.
func (r *Recorder) write(durable bool) error {
	data, err := json.Marshal(r.now)
	if err != nil {
		return fmt.Errorf("write life: %w", err)
	}
	if len(data) >= markerBytes {
		return errors.New("write life: it is too long")
	}
	page := bytes.Repeat([]byte{' '}, markerBytes)
	copy(page, data)
	page[markerBytes-1] = '\n'
	if _, err := r.file.WriteAt(page, 0); err != nil {
		return fmt.Errorf("write life: %w", err)
	}
	if durable {
		if err := r.file.Sync(); err != nil {
			return fmt.Errorf("write life: %w", err)
		}
	}
	return nil
}

// Close closes the marker, which stays for the next life to read. It may be
// called twice.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// readMarker reads the marker that the life before left. One that cannot be
// read says no more than that there was a life.
func readMarker(path string) (m marker, ok bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return m, false
	}
	if json.Unmarshal(data, &m) != nil {
		info, err := os.Stat(path)
		if err != nil {
			return m, false
		}
		return marker{Life: Life{Ended: info.ModTime().UTC(), Reason: "its marker cannot be read"}}, true
	}
	return m, true
}

// ReadLives reads the record of a state folder, oldest first. A line that was
// cut by a loss of power is left out.
func ReadLives(home string) ([]Life, error) {
	data, err := os.ReadFile(filepath.Join(home, livesFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read lives: %w", err)
	}
	var lives []Life
	for line := range bytes.Lines(data) {
		var l Life
		if json.Unmarshal(line, &l) == nil && l.How != "" {
			lives = append(lives, l)
		}
	}
	return lives, nil
}

// appendLife writes the last of the lives durably, and cuts the file when it has
// grown long.
func appendLife(home string, lives []Life) error {
	path := filepath.Join(home, livesFile)
	if len(lives) > tornLives {
		var all bytes.Buffer
		enc := json.NewEncoder(&all)
		for _, l := range lives[len(lives)-keptLives:] {
			if err := enc.Encode(l); err != nil {
				return fmt.Errorf("write lives: %w", err)
			}
		}
		return replace(path, all.Bytes())
	}
	line, err := json.Marshal(lives[len(lives)-1])
	if err != nil {
		return fmt.Errorf("write lives: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("write lives: %w", err)
	}
	defer f.Close()
	line = append(line, '\n')
	if info, err := f.Stat(); err == nil && info.Size() > 0 {
		var end [1]byte
		if _, err := f.ReadAt(end[:], info.Size()-1); err == nil && end[0] != '\n' {
			line = append([]byte{'\n'}, line...) // after what a loss of power cut
		}
	}
	if _, err := f.Write(line); err != nil {
		return fmt.Errorf("write lives: %w", err)
	}
	return f.Sync()
}

// replace writes a file anew: after a loss of power it is the old or the new one.
func replace(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write lives: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write lives: %w", err)
	}
	return nil
}

// takeTrace takes away what the runtime wrote when the last life crashed: its
// beginning, and the file where the whole of it is kept.
func takeTrace(dir string) (text, kept string, err error) {
	path := filepath.Join(dir, traceFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(data)) == 0 {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("read trace: %w", err)
	}
	at := time.Now()
	if info, err := os.Stat(path); err == nil {
		at = info.ModTime()
	}
	prune(dir, keptDumps-1)
	kept = filepath.Join(dir, at.UTC().Format(dumpName)+"-crash.txt")
	if err := os.Rename(path, kept); err != nil {
		return clip(string(data), traceBytes), path, fmt.Errorf("keep trace: %w", err)
	}
	return clip(string(data), traceBytes), kept, nil
}

// catchTrace has the runtime write its last words to a file as well.
func catchTrace(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make crash folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, traceFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open trace: %w", err)
	}
	defer f.Close() // the runtime has a copy
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		return fmt.Errorf("catch the runtime's last words: %w", err)
	}
	return nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
