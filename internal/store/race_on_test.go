//go:build race

package store

// checks is how many histories the property test makes up: SQLite in Go is ten
// times slower under the race detector.
const checks = "15"
