package supervise

import (
	"context"
	"fmt"
	"time"
)

// Phase is what a supervisor says of a service, in the words of all of them.
type Phase string

// The phases.
const (
	Running  Phase = "running"
	Starting Phase = "starting" // it has ended, and will be started in a moment
	Stopped  Phase = "stopped"
	Failed   Phase = "failed" // down, and stays so until a person has acted
	Absent   Phase = "absent" // the supervisor does not know it
)

// State is what a supervisor says of a service.
type State struct {
	Phase    Phase
	PID      int       // of the process that it started; 0 where none runs
	Since    time.Time // in this phase; zero where unknown
	Restarts int       // that it counted; -1 where it counts none
	Raw      string    // its own words
}

// driver controls the services of one supervisor.
type driver interface {
	// load makes the supervisor know the files, of which those named have
	// changed; where the service is not Down it may start it.
	load(ctx context.Context, changed []string) error
	// unload comes before the files are removed, and unloaded after that. The
	// service is stopped.
	unload(ctx context.Context) error
	unloaded(ctx context.Context) error
	start(ctx context.Context) error
	// stop returns when the supervisor says that it is down.
	stop(ctx context.Context) error
	// restart is the supervisor's own: a new process.
	restart(ctx context.Context) error
	status(ctx context.Context) (State, error)
}

func (u Unit) driver(r runner) (driver, error) {
	switch u.Manager {
	case Launchd:
		return launchd{Unit: u, run: r}, nil
	case Systemd:
		return systemd{u, r}, nil
	case Runit, S6, Daemontools:
		return folder{u, r}, nil
	case Supervisord:
		return supervisord{u, r}, nil
	}
	return nil, fmt.Errorf("no supervisor is called %q; there are %s", u.Manager, managerNames())
}

// Start asks the supervisor to start the service. It is no error where it runs.
func (u Unit) Start(ctx context.Context) error {
	d, err := u.driver(tools{})
	if err != nil {
		return err
	}
	if err := d.start(ctx); err != nil {
		return fmt.Errorf("start the service %s: %w", u, err)
	}
	return nil
}

// Stop asks the supervisor to stop the service, and returns when it says that
// the service is down. It is no error where it is down.
func (u Unit) Stop(ctx context.Context) error {
	d, err := u.driver(tools{})
	if err != nil {
		return err
	}
	if err := d.stop(ctx); err != nil {
		return fmt.Errorf("stop the service %s: %w", u, err)
	}
	return nil
}

// Restart asks the supervisor for a new process; where none runs it starts one.
func (u Unit) Restart(ctx context.Context) error {
	d, err := u.driver(tools{})
	if err != nil {
		return err
	}
	if err := d.restart(ctx); err != nil {
		return fmt.Errorf("restart the service %s: %w", u, err)
	}
	return nil
}

// Status asks the supervisor how the service is.
func (u Unit) Status(ctx context.Context) (State, error) {
	d, err := u.driver(tools{})
	if err != nil {
		return State{}, err
	}
	s, err := d.status(ctx)
	if err != nil {
		return s, fmt.Errorf("ask for the service %s: %w", u, err)
	}
	return s, nil
}
