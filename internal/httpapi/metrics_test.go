package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/ledger"
)

// promtool runs Prometheus' own tool, or skips.
func promtool(t *testing.T, in string, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("NOT TESTED: promtool is not here (in Debian: prometheus): %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(in)
	if out, err := cmd.CombinedOutput(); err != nil || (len(out) > 0 && in != "") {
		t.Errorf("promtool %v: %v\n%s", args, err, out)
	}
}

func TestMetrics(t *testing.T) {
	h := newHost(t, func(c *Config) {
		c.Machine = &fakeMachine{}
		c.Ledger = func(context.Context) (HostLedger, error) {
			return HostLedger{
				Available: true, Now: ledger.Sample{Observed: 17, Expected: 16, Limit: 256},
				Agents: []ledger.AgentSample{{Agent: "tour", Descriptors: 5, RSS: 1000}, {Agent: "tour", Descriptors: 6, RSS: 2000}},
			}, nil
		}
	})
	if res, _ := h.do("GET", "/metrics", "", "Authorization", ""); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a login: %d", res.StatusCode)
	}
	h.do("GET", "/api/v1/sessions/none", "")
	h.do("GET", "/api/v1/sessions", "")
	res, body := h.do("GET", "/metrics", "")
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	for _, line := range []string{
		`holdfast_http_requests_total{class="api",code="2xx"} 1`,
		`holdfast_http_requests_total{class="api",code="4xx"} 2`,
		`holdfast_http_request_duration_seconds_count{class="api"} 3`,
		`holdfast_descriptors_observed 17`,
		`holdfast_agent_descriptors{agent="tour"} 11`,
		`holdfast_health{status="ok"} 1`,
		`holdfast_approvals_pending 0`,
		`holdfast_http_requests_limit{class="stream"} `,
		`holdfast_live_agents_limit 8`,
		`holdfast_safe_mode 0`,
		`holdfast_runs{state="running"} 0`,
		`holdfast_runs{state="queued"} 0`,
		`holdfast_runs_oldest_wait_seconds 0`,
		`holdfast_runs_ended_total{agent="tour",reason="end_turn"} 3`,
		`holdfast_runs_ended_total{agent="tour",reason="interrupted"} 0`,
		`holdfast_run_duration_seconds_bucket{agent="tour",le="60"} 4`,
		`holdfast_run_duration_seconds_bucket{agent="tour",le="+Inf"} 4`,
		`holdfast_run_duration_seconds_sum{agent="tour"} 90`,
		`holdfast_restarts_total{how="crash"} 2`,
		`holdfast_restarts_total{how="killed"} 0`,
	} {
		if !strings.Contains(body, "\n"+line) {
			t.Errorf("there is no %s in\n%s", line, body)
		}
	}
	promtool(t, body, "check", "metrics")
}

func TestAlertRules(t *testing.T) {
	promtool(t, "", "check", "rules", "../../docs/alerts.yml")
	promtool(t, "", "test", "rules", "testdata/alerts_test.yml")
}

// TestDashboard holds the dashboard's queries against what there is to query:
// a metric that was renamed leaves an empty panel that nobody notices.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, func(c *Config) {
		c.Machine = &fakeMachine{}
		c.Ledger = func(context.Context) (HostLedger, error) {
			return HostLedger{
				Available: true, Now: ledger.Sample{Observed: 17, Expected: 16, Limit: 256},
				Gauges: ledger.Gauges{ProbeMS: 12},
				Agents: []ledger.AgentSample{{Agent: "tour", Descriptors: 5, RSS: 1000}},
			}, nil
		}
	})
	h.do("GET", "/api/v1/sessions", "")
	_, body := h.do("GET", "/metrics", "")
	name := regexp.MustCompile(`\b(holdfast|process|go)_[a-z_]+`)
	if len(board.Panels) < 10 {
		t.Errorf("only %d panels", len(board.Panels))
	}
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			names := name.FindAllString(target.Expr, -1)
			if len(names) == 0 {
				t.Errorf("%s: no metric in %s", p.Title, target.Expr)
			}
			for _, n := range names {
				if !strings.Contains(body, n) {
					t.Errorf("%s: there is no metric %s", p.Title, n)
				}
			}
		}
	}
}
