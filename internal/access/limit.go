package access

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// The limits of login attempts. Each is a token bucket: a burst, then one
// attempt per interval.
const (
	addressBurst = 5
	addressEvery = 20 * time.Second
	globalBurst  = 40
	globalEvery  = 2 * time.Second
	maxAddresses = 1024
)

// limiter limits login attempts per address and over all addresses. Its memory
// is bounded: where it is full, the bucket that is closest to full again, which
// tells the least, is forgotten. An attacker with many addresses is held by the
// limit over all of them.
type limiter struct {
	now func() time.Time

	mu        sync.Mutex
	addresses map[string]bucket
	global    bucket
}

// bucket holds when it will be full again: one time stands for its level.
type bucket struct{ full time.Time }

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, addresses: map[string]bucket{}}
}

// spend takes a token, or says how long until there is one.
func (b bucket) spend(now time.Time, burst int, every time.Duration) (bucket, time.Duration) {
	full := b.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(every)
	if over := full.Sub(now) - time.Duration(burst)*every; over > 0 {
		return b, over
	}
	return bucket{full: full}, 0
}

func (l *limiter) take(address string) (time.Duration, bool) {
	key := addressKey(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	mine, wait := l.addresses[key].spend(now, addressBurst, addressEvery)
	if wait > 0 {
		return wait, false
	}
	global, wait := l.global.spend(now, globalBurst, globalEvery)
	if wait > 0 {
		return wait, false
	}
	if _, known := l.addresses[key]; !known && len(l.addresses) >= maxAddresses {
		l.forget(now)
	}
	l.addresses[key], l.global = mine, global
	return 0, true
}

func (l *limiter) giveBack(address string) {
	key := addressKey(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.global.full = l.global.full.Add(-globalEvery)
	if b, ok := l.addresses[key]; ok {
		b.full = b.full.Add(-addressEvery)
		l.addresses[key] = b
	}
}

// forget drops every bucket that is full again, or else the one closest to it.
func (l *limiter) forget(now time.Time) {
	oldest, least := "", time.Duration(math.MaxInt64)
	for key, b := range l.addresses {
		left := b.full.Sub(now)
		if left <= 0 {
			delete(l.addresses, key)
			continue
		}
		if left < least {
			oldest, least = key, left
		}
	}
	if len(l.addresses) >= maxAddresses {
		delete(l.addresses, oldest)
	}
}

// addressKey is the address without its port; an IPv6 network of 64 bits, which
// one machine may have to itself, counts as one address.
func addressKey(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		a := ap.Addr().Unmap().WithZone("")
		if a.Is6() {
			if p, err := a.Prefix(64); err == nil {
				return p.String()
			}
		}
		return a.String()
	}
	return address
}
