package config

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// decode reads config.toml over the defaults in f. An unknown key is an error
// that names the file, the line, the column and the nearest known names.
func decode(path string, data []byte, f *file) error {
	// Editors on Windows begin a file with a byte order mark.
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	dec := toml.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(f)
	if err == nil {
		return nil
	}
	if unknown, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		var lines []string
		for i := range unknown.Errors {
			lines = append(lines, unknownKey(path, &unknown.Errors[i]))
		}
		return &Error{Text: strings.Join(lines, "\n"), Err: err}
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, col := bad.Position()
		key := strings.Join(bad.Key(), ".")
		text := strings.TrimPrefix(bad.Error(), "toml: ")
		switch want := wanted(bad.Key()); {
		case want != "" && strings.HasPrefix(text, "cannot "): // its words are about Go's types
			text = fmt.Sprintf("%s must be %s", key, want)
		case key != "":
			text = fmt.Sprintf("%s: %s", key, text)
		}
		return &Error{Text: fmt.Sprintf("%s:%d:%d: %s. Correct that line; the syntax is that of https://toml.io", path, line, col, text), Err: err}
	}
	return &Error{Text: fmt.Sprintf("%s: %v", path, err), Err: err}
}

func unknownKey(path string, e *toml.DecodeError) string {
	line, col := e.Position()
	key := e.Key()
	text := fmt.Sprintf("%s:%d:%d: unknown key %q", path, line, col, strings.Join(key, "."))
	known := knownKeys(key)
	if len(known) == 0 {
		return text + ". Remove it"
	}
	if near := nearest(key[len(key)-1], known); near != "" {
		parent := strings.Join(append(slices.Clone([]string(key[:len(key)-1])), near), ".")
		return text + fmt.Sprintf("; did you mean %q?", parent)
	}
	return text + ". Known here: " + strings.Join(known, ", ")
}

// typeAt returns the type of what stands at the key, or nil.
func typeAt(key []string) reflect.Type {
	t := reflect.TypeFor[file]()
	for _, part := range key {
		switch t.Kind() {
		case reflect.Struct:
			i := slices.IndexFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return f.Tag.Get("toml") == part })
			if i < 0 {
				return nil
			}
			t = t.Field(i).Type
		case reflect.Map:
			t = t.Elem()
		default:
			return nil
		}
	}
	return t
}

// wanted says in words what must stand at the key, or "".
func wanted(key []string) string {
	t := typeAt(key)
	switch t {
	case nil:
		return ""
	case reflect.TypeFor[Size]():
		return "a number of bytes, or a text such as \"64MiB\""
	case reflect.TypeFor[Duration]():
		return "a text such as \"90s\", \"1h\" or \"7d\""
	}
	switch t.Kind() {
	case reflect.String:
		return "a text in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list of texts, such as [\"a\", \"b\"]"
	case reflect.Map, reflect.Struct:
		return "a table"
	}
	return ""
}

// knownKeys lists the keys that may stand where the last part of key stands.
func knownKeys(key []string) []string {
	t := typeAt(key[:max(len(key)-1, 0)])
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		names = append(names, f.Tag.Get("toml"))
	}
	return names
}

var agentID = regexp.MustCompile(`^[a-z0-9-]+$`)

// check tells what is wrong with values that are well formed.
func (c *Config) check(path string) error {
	switch c.KeepAwake {
	case AwakeOnMains, AwakeAlways, AwakeNever:
	default:
		return errorf("%s: keep_awake is %q; write %q, %q or %q", path, c.KeepAwake, AwakeOnMains, AwakeAlways, AwakeNever)
	}
	for _, id := range sortedKeys(c.Agents) {
		a := c.Agents[id]
		where := fmt.Sprintf("%s: [agents.%s]", path, id)
		switch {
		case !agentID.MatchString(id):
			return errorf("%s: an agent's id may hold a-z, 0-9 and - only; rename the section", where)
		case len(a.Command) == 0 || strings.TrimSpace(a.Command[0]) == "":
			return errorf("%s has no command; write for example command = [\"/path/to/program\", \"acp\"]", where)
		}
		for _, s := range a.Command {
			if strings.ContainsRune(s, 0) {
				return errorf("%s: the command holds a NUL byte; remove it", where)
			}
		}
		for _, k := range sortedKeys(a.Env) {
			if k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(a.Env[k], 0) {
				return errorf("%s: env holds %q, which is no variable; a name may hold neither = nor NUL", where, k)
			}
		}
		if a.Name == "" {
			a.Name = id
			c.Agents[id] = a
		}
	}
	for _, l := range []struct {
		key      string
		n        int64
		min, max int64
	}{
		{"live_agents", int64(c.Limits.LiveAgents), 1, 1000},
		{"spool_bytes", int64(c.Limits.SpoolBytes), 1 << 20, 1 << 50},
		{"message_bytes", int64(c.Limits.MessageBytes), 1 << 10, 32 << 20},
		{"attachment_bytes", int64(c.Limits.AttachmentBytes), 1 << 10, 4 << 30},
		{"connections", int64(c.Limits.Connections), 8, 1 << 20},
		{"requests", int64(c.Limits.Requests), 1, 1 << 20},
		{"streams", int64(c.Limits.Streams), 1, 1 << 20},
	} {
		if l.n < l.min || l.n > l.max {
			return errorf("%s: limits.%s is %d; it must lie between %d and %d", path, l.key, l.n, l.min, l.max)
		}
	}
	for _, l := range []struct {
		key string
		d   Duration
	}{{"run", c.Leases.Run}, {"idle", c.Leases.Idle}, {"asked", c.Leases.Asked}} {
		if l.d < Duration(time.Second) || l.d > Duration(365*24*time.Hour) {
			return errorf("%s: leases.%s is %s; it must lie between 1s and 365d, as a text such as \"7d\"", path, l.key, l.d)
		}
	}
	return nil
}

// Size is a number of bytes; in the file an integer or a text such as "64MiB".
type Size int64

// UnmarshalText reads a number of bytes with an optional unit: KiB, MiB, GiB,
// or KB, MB, GB.
func (s *Size) UnmarshalText(text []byte) error {
	t := strings.ToLower(strings.TrimSpace(string(text)))
	factor := int64(1)
	for _, u := range []struct {
		suffix string
		factor int64
	}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}} {
		if rest, ok := strings.CutSuffix(t, u.suffix); ok {
			t, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(t, "_", ""), 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is no size; write bytes, or a text such as \"64MiB\"", text)
	}
	*s = Size(n * factor)
	return nil
}

// Duration is a span of time; in the file a text such as "90s", "1h" or "7d".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads, and whole days ("7d").
func (d *Duration) UnmarshalText(text []byte) error {
	t := strings.TrimSpace(string(text))
	if days, ok := strings.CutSuffix(t, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	v, err := time.ParseDuration(t)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration; write a text such as \"90s\", \"1h\" or \"7d\"", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// nearest returns the known name that is closest to name, or "" if none is
// close enough to be a slip.
func nearest(name string, known []string) string {
	best, bestAt := "", 1+len(name)/3
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d <= bestAt {
			if d < bestAt || best == "" {
				best, bestAt = k, d
			}
		}
	}
	return best
}

// distance is the number of single-byte edits between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		prev := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			prev, row[j+1] = row[j+1], min(prev+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
