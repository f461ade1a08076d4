// Package said has every sentence that the host says to a person on the page:
// in English, and by code for the page to say it in its own language. It knows
// nothing of what the sentences are about.
package said

import (
	"fmt"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/store"
)

// Words is what a person is told: the text, which is whole and English, and,
// where the sentence is the host's own, its code and what is in it.
//
// Every sentence is made by say, in this package. Each code has words in the
// page's catalogues (web/src/i18n); a test on each side holds the one to the
// other. What a code means and what its args are never changes, as what is
// written today is read by pages of tomorrow: another sentence gets another
// code.
type Words struct {
	Text string `json:"text"`
	store.Said
}

type args = map[string]any

func say(code, text string, with args) Words {
	return Words{Text: text, Said: store.Said{Code: code, Args: with}}
}

// Agent is a notice of the agent itself: its own words in every language.
func Agent(title string) Words {
	return Words{Text: title, Said: store.Said{Code: "agent"}}
}

// Size writes bytes for a person, as the page does (size in its lib/format.ts):
// 740 kB, 4.2 MB, 69 MB, 1.2 GB, in thousands.
func Size[N int64 | uint64](n N) string {
	if n < 1e6 {
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	value, unit := float64(n)/1e6, "MB"
	if n >= 1e9 {
		value, unit = float64(n)/1e9, "GB"
	}
	if value < 9.95 {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0") + " " + unit
	}
	return fmt.Sprintf("%.0f %s", value, unit)
}
