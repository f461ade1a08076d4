// Package keeper owns an agent so that the host can die. A keeper is a process
// of its own (`holdfast keeper DIR`): it starts the agent, appends each line
// that the agent writes to a spool on disk, numbered, writes numbered lines to
// the agent's stdin, and serves one host at a time over a unix socket.
//
// The package holds both sides. Main and the files named after its parts
// (agent, inbox, serve, spool_write) run in the keeper; Start, Dial, OpenSpool,
// ReadNotes, Sweep, Kill and Remove are the host's.
//
// It knows framing, not the agent's protocol, but for one thing: which JSON-RPC
// response ends a run. The keeper's side uses the standard library and proc
// alone, because it must stay small and change rarely: an old keeper serves a
// new host.
package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast/internal/proc"
)

// Protocol is the version of the wire format, of the spool and of the files in
// the epoch's folder.
const Protocol = 1

// MaxLine is the longest line, in bytes, that is kept whole.
const MaxLine = 64 << 20

// Errors that callers branch on.
var (
	// ErrLocked says that the epoch's lock is held: a keeper lives.
	ErrLocked = proc.ErrLocked
	// ErrUsed says that the folder has seen a life already.
	ErrUsed = errors.New("the folder belongs to another life of a keeper")
	// ErrNoKeeper says that no keeper lives in the folder.
	ErrNoKeeper = errors.New("no keeper lives here")
	// ErrNoHello says that a keeper lives and does not answer.
	ErrNoHello = errors.New("the keeper does not answer")
	// ErrGone says that the record asked for has been dropped.
	ErrGone = errors.New("the record has been dropped from the spool")
	// ErrProtocol says that one side broke the protocol. The connection is closed.
	ErrProtocol = errors.New("keeper protocol broken")
	// ErrClosed says that this side has closed the connection.
	ErrClosed = errors.New("connection to the keeper is closed")
)

// Leases say for how long a keeper goes on without a host, in time that counts
// while the machine sleeps. Zero means the default.
type Leases struct {
	Running time.Duration `json:"running"` // while a run is under way; 7 days
	Idle    time.Duration `json:"idle"`    // without a run; 1 hour
	Stopped time.Duration `json:"stopped"` // after the host left in order; 10 minutes
}

// Spec is what a keeper needs to know, fixed for its life. It is written with
// mode 0600, for it holds the agent's environment.
type Spec struct {
	Session string `json:"session"`
	Epoch   string `json:"epoch"`
	Mark    string `json:"mark"` // value of HOLDFAST_MARK for keeper and agent

	Command []string `json:"command"` // the agent's arguments, the program first
	Dir     string   `json:"dir"`     // the agent's working folder
	// Env is the agent's whole environment, to which the keeper adds
	// HOLDFAST_MARK and TMPDIR.
	Env []string `json:"env"`

	SpoolCap    int64  `json:"spool_cap"`    // bytes on disk over which the agent is not read; 0: 1 GiB, or 5 % of the free disk where that is less
	SegmentSize int64  `json:"segment_size"` // bytes after which a segment is closed; 0: 8 MiB
	Leases      Leases `json:"leases"`
	NoFile      uint64 `json:"no_file"` // the agent's descriptor limit; 0: 4096
}

const (
	defaultSpoolCap    = 1 << 30
	smallestSpoolCap   = 64 << 20 // however full the disk: a full disk is waited for as well
	defaultSegmentSize = 8 << 20
	defaultNoFile      = 4096
	defaultRunning     = 7 * 24 * time.Hour
	defaultIdle        = time.Hour
	defaultStopped     = 10 * time.Minute
)

// life is spec.json: the Spec and the places that the host chose for this life.
type life struct {
	Spec
	Socket string `json:"socket"`
	Tmp    string `json:"tmp"`           // the agent's TMPDIR
	Run    string `json:"run,omitempty"` // a private folder outside, where the epoch's path is too long for sockets
	Boot   string `json:"boot"`
}

func (l *life) setDefaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&l.Leases.Running, defaultRunning)
	set(&l.Leases.Idle, defaultIdle)
	set(&l.Leases.Stopped, defaultStopped)
	if l.SegmentSize <= 0 {
		l.SegmentSize = defaultSegmentSize
	}
	if l.NoFile == 0 {
		l.NoFile = defaultNoFile
	}
}

// Info is keeper.json: who keeps this epoch and where it is reached.
type Info struct {
	Protocol  int       `json:"protocol"`
	Keeper    proc.ID   `json:"keeper"`
	Agent     proc.ID   `json:"agent"` // zero until the agent has started
	Socket    string    `json:"socket"`
	Binary    string    `json:"binary"` // of the keeper
	Boot      string    `json:"boot"`
	Epoch     string    `json:"epoch"`
	Session   string    `json:"session"`
	StartedAt time.Time `json:"started_at"`
}

// The files of an epoch's folder.
const (
	fileLock  = "lock"
	fileSpec  = "spec.json"
	fileBorn  = "born.json"   // the keeper's identity as Start knew it
	fileInfo  = "keeper.json" // the same and more, from the keeper itself
	fileNotes = "notes"
	fileLog   = "log"
	fileSock  = "s"
	dirTmp    = "t"
	dirSpool  = "spool"
)

// ReadInfo reads what the keeper of the folder wrote about itself. The error
// wraps os.ErrNotExist where it has not come so far.
func ReadInfo(dir string) (Info, error) {
	var info Info
	return info, readJSON(filepath.Join(dir, fileInfo), &info)
}

// Held tells whether the epoch's lock is held: a keeper lives, be it only
// half born.
func Held(dir string) (bool, error) { return proc.Locked(filepath.Join(dir, fileLock)) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C by which both sides compare a line.
func Checksum(line []byte) uint32 { return crc32.Checksum(line, castagnoli) }

// The reasons of an Exit.
const (
	ReasonSelf   = "self"   // the agent ended by itself
	ReasonAsked  = "asked"  // the host asked
	ReasonLease  = "lease"  // no host for too long
	ReasonSignal = "signal" // somebody sent SIGTERM to the keeper
	ReasonStart  = "start"  // the agent could not be started
)

// Exit is the last record of a spool: how the agent ended.
type Exit struct {
	Code   int         `json:"code"`             // as a shell would say it: 127 where there is no such program, 128+n for a signal
	Signal string      `json:"signal,omitempty"` // the signal that ended it, such as "killed"
	Reason string      `json:"reason"`
	Error  string      `json:"error,omitempty"` // why it could not be started
	At     time.Time   `json:"at"`
	Left   []proc.Info `json:"left,omitempty"` // of its processes those that could not be ended
}

// ParseExit reads the Data of a record of KindExit.
func ParseExit(data []byte) (Exit, error) {
	var e Exit
	if err := json.Unmarshal(data, &e); err != nil {
		return Exit{}, fmt.Errorf("parse exit record: %w", err)
	}
	return e, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces the file whole: a reader sees the old one or the new one.
func writeJSON(path string, from any) (err error) {
	data, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create %s: %w", filepath.Base(path), err)
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err = os.Rename(tmp, path); err != nil {
		return fmt.Errorf("replace %s: %w", filepath.Base(path), err)
	}
	return nil
}
