package access

import "time"

// Credential is one stored login.
type Credential struct {
	ID, Kind, Name, Hash           string
	CreatedAt, LastUsed, ExpiresAt time.Time
	UserAgent                      string
}
