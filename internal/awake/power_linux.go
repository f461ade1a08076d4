package awake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// onMains reads what the kernel says about the machine's power supplies.
func onMains(context.Context) (bool, error) { return mainsFrom(os.DirFS("/sys/class/power_supply")) }

// mainsFrom decides as systemd does: a supply that is connected means mains; a
// battery of the machine that discharges, or a supply that is not connected,
// means battery; a machine that has neither has no battery to spare.
func mainsFrom(supplies fs.FS) (bool, error) {
	entries, err := fs.ReadDir(supplies, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // a container or a kernel without supplies
	}
	if err != nil {
		return false, fmt.Errorf("list power supplies: %w", err)
	}
	// A file may be absent, or fail while a supply is being unplugged.
	read := func(supply, name string) string {
		b, err := fs.ReadFile(supplies, path.Join(supply, name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	battery := false
	for _, e := range entries {
		s := e.Name()
		if read(s, "scope") == "Device" {
			continue // of a mouse or a headset
		}
		switch kind := read(s, "type"); {
		case kind == "Mains", kind == "Wireless", strings.HasPrefix(kind, "USB"):
			switch read(s, "online") {
			case "1", "2": // 2: connected, its voltage can be chosen
				return true, nil
			case "0":
				// A USB port of a desktop may be such a supply, with nothing in it.
				battery = battery || kind == "Mains"
			}
		case kind == "Battery", kind == "UPS":
			battery = battery || read(s, "status") == "Discharging"
		}
	}
	return !battery, nil
}
