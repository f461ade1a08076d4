//go:build !race

package store

const checks = "100"
