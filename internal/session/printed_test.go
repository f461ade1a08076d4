package session

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestHideSecrets(t *testing.T) {
	env := []string{"OPENAI_API_KEY=abcdefgh12345678", "SHORT_TOKEN=ab", "MY_PASSWORD=correct horse", "HOME=/home/somebody", "EMPTY_KEY="}
	for in, want := range map[string]string{
		"using abcdefgh12345678 now":                        "using [redacted] now",
		"correct horse and ab in /home/somebody":            "[redacted] and ab in /home/somebody",
		"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.x1": "Authorization: Bearer [redacted]",
		"key sk-proj-0123456789abcdefgh is wrong":           "key [redacted] is wrong",
		"ghp_0123456789abcdefgh":                            "[redacted]",
		"a bearer of news, risk-free and task-1":            "a bearer of news, risk-free and task-1",
	} {
		if got := hideSecrets(in, env); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestPrintableIsTheEnd(t *testing.T) {
	got := printable([]byte(strings.Repeat("é a line\n", 10_000)+"last \xff\n"), nil)
	if len(got) > printedKept || !utf8.ValidString(got) || !strings.HasPrefix(got, "é a line\n") || !strings.HasSuffix(got, "last \uFFFD\n") {
		t.Errorf("%d bytes: %.20q … %q", len(got), got, got[len(got)-20:])
	}
	if got := printable([]byte(strings.Repeat("é", 20_000)), nil); !utf8.ValidString(got) || len(got) > printedKept || got == "" {
		t.Errorf("one long line: %d bytes, valid %t", len(got), utf8.ValidString(got))
	}
}
