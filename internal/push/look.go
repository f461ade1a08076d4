package push

import "time"

// looks are what people look at, by device and tab.
type looks map[string]map[string]look

type look struct {
	session string
	at      time.Time // when somebody last did something there
}

const (
	maxTabs = 16
	// lookTime is how long a visible tab counts on its own device: a page that
	// crashed says no goodbye.
	lookTime = 2 * time.Hour
	// handsTime is how long it counts for the other devices: a screen that
	// nobody sits before must not keep the phone quiet.
	handsTime = 90 * time.Second
)

// Look notes that a tab of a device shows a session ("": none) and that
// somebody has just done something there, or that it is not visible any more.
func (s *Service) Look(device, tab, session string, visible bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tabs := s.looks[device]
	if !visible {
		delete(tabs, tab)
		if len(tabs) == 0 {
			delete(s.looks, device)
		}
		return
	}
	if tabs == nil {
		tabs = map[string]look{}
		s.looks[device] = tabs
	}
	if _, known := tabs[tab]; !known && len(tabs) >= maxTabs {
		oldest := ""
		for id, l := range tabs {
			if oldest == "" || l.at.Before(tabs[oldest].at) {
				oldest = id
			}
		}
		delete(tabs, oldest)
	}
	tabs[tab] = look{session: session, at: s.o.Now()}
}

// seenLocked tells whether a person sees a session, so that a device need not
// tell of it.
func (s *Service) seenLocked(device, session string) bool {
	now := s.o.Now()
	for other, tabs := range s.looks {
		within := handsTime
		if other == device {
			within = lookTime
		}
		for _, l := range tabs {
			if l.session == session && now.Sub(l.at) < within {
				return true
			}
		}
	}
	return false
}
