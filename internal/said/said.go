// Package said has every sentence that the host says to a person on the page:
// in English, and by code for the page to say it in its own language. It knows
// nothing of what the sentences are about.
package said

import (
	"fmt"

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

// Size writes bytes for a person.
func Size(n int64) string {
	const k = 1024
	switch {
	case n >= 10*k*k*k:
		return fmt.Sprintf("%d GB", n/k/k/k)
	case n >= k*k*k:
		return fmt.Sprintf("%.1f GB", float64(n)/k/k/k)
	case n >= k*k:
		return fmt.Sprintf("%d MB", n/k/k)
	}
	return fmt.Sprintf("%d kB", n/k)
}
