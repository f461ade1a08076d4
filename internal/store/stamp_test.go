package store

import (
	"regexp"
	"testing"
	"time"
)

func TestTimesHaveMilliseconds(t *testing.T) {
	at := time.Date(2026, 11, 24, 8, 0, 0, 760*int(time.Millisecond), time.FixedZone("x", 3600))
	want := regexp.MustCompile(`"(at|created_at|last_at|ended_at|answered_at|expires_at)":"2026-11-24T07:00:00\.760Z"`)
	for _, v := range []any{
		Event{At: at},
		Item{At: at},
		Session{CreatedAt: at, LastAt: at},
		Approval{At: at, AnsweredAt: &at, ExpiresAt: &at},
		ToolBody{EndedAt: &at},
		ClosedBody{EndedAt: &at},
		ResolvedBody{AnsweredAt: at},
	} {
		got, err := encode(v)
		if err != nil {
			t.Fatal(err)
		}
		stamps := regexp.MustCompile(`"[a-z_]*at":"[^"]*"`).FindAllString(string(got), -1)
		if len(stamps) == 0 {
			t.Errorf("%T has no time: %s", v, got)
		}
		for _, s := range stamps {
			if !want.MatchString(s) {
				t.Errorf("%T writes %s", v, s)
			}
		}
	}
}
