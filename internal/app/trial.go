package app

// trial is what a new version has to prove.
type trial struct {
	Version string `json:"version"` // the one before
}
