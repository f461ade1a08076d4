// Command bare is the yardstick of the figures: what net/http alone costs. It
// answers /health, and POST /bytes sets what GET /bytes answers.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run() error {
	ln, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		return err
	}
	var held atomic.Pointer[[]byte]
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	})
	mux.HandleFunc("POST /bytes", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		held.Store(&body)
	})
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if body := held.Load(); body != nil {
			_, _ = w.Write(*body)
		}
	})
	return http.Serve(ln, mux) //nolint:gosec // a yardstick on loopback, without timeouts on purpose
}
