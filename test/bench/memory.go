package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"
)

// memory measures the host idle and after use, and a keeper fresh and after a
// long line.
func memory(ctx context.Context, b *bench) error {
	w, err := b.startWorld(ctx)
	if err != nil {
		return err
	}
	defer w.close()
	bare, err := b.bare(ctx)
	if err != nil {
		return err
	}
	defer bare.kill()
	idle := b.wait(30*time.Second, 5*time.Second)
	if err := sleep(ctx, idle); err != nil {
		return err
	}
	y, err := memoryOf(bare.pid())
	if err != nil {
		return err
	}
	host := func(name string, target float64, note string) error {
		u, err := memoryOf(w.host.pid())
		if err != nil {
			return err
		}
		b.single(name, "MB", target, u.rss, strings.TrimSuffix(fmt.Sprintf("anonymous %.1f; %s", u.anonymous, note), "; "))
		return nil
	}
	if err := host(fmt.Sprintf("host idle after %v, RSS", idle), 25, fmt.Sprintf("bare server: %.1f, anonymous %.1f", y.rss, y.anonymous)); err != nil {
		return err
	}

	session, err := w.newSession(ctx)
	if err != nil {
		return err
	}
	f := w.follow(session)
	defer f.close()
	if err := f.open(ctx); err != nil {
		return err
	}
	turn := func(text string) error {
		run, _, err := w.send(ctx, session, text)
		if err != nil {
			return err
		}
		return f.ended(ctx, run)
	}
	if err := turn("say ready"); err != nil {
		return err
	}
	settle := b.wait(5*time.Second, time.Second)
	keeper := func(name string, target float64, note string) error {
		if err := sleep(ctx, settle); err != nil {
			return err
		}
		for _, p := range w.marked() {
			if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID)); err != nil || !strings.Contains(string(args), "\x00keeper\x00") {
				continue
			}
			u, err := memoryOf(p.PID)
			if err != nil {
				return err
			}
			b.single(name, "MB", target, u.anonymous, strings.TrimSuffix(fmt.Sprintf("RSS %.1f; %s", u.rss, note), "; "))
			return nil
		}
		return fmt.Errorf("no keeper of %s found", session)
	}
	if err := keeper("keeper fresh, anonymous", 4, "one turn of one line"); err != nil {
		return err
	}

	if err := w.use(ctx, b, turn); err != nil {
		return err
	}
	used := fmt.Sprintf("%d lists, OpenAPI, page, %d turns", b.pick(lists, lists/5), b.pick(turns, turns/5))
	if err := host("host after use, RSS", 35, used); err != nil {
		return err
	}
	if err := keeper("keeper after use, anonymous", 0, ""); err != nil {
		return err
	}
	if err := turn("line 10MB"); err != nil {
		return err
	}
	if err := keeper("keeper after a 10 MB line, anonymous", 6, fmt.Sprintf("%v after it", settle)); err != nil {
		return err
	}
	return host("host after a 10 MB line, RSS", 0, fmt.Sprintf("%v after it", settle))
}

const (
	lists = 1000
	turns = 100
)

var assets = regexp.MustCompile(`(?:src|href)="(/?[^":]+)"`)

// use does what a day of use does to the host's memory.
func (w *world) use(ctx context.Context, b *bench, turn func(string) error) error {
	for range b.pick(lists, lists/5) {
		if _, err := w.call(ctx, "GET", "/api/v1/sessions?limit=50", nil, nil); err != nil {
			return err
		}
	}
	if _, err := w.call(ctx, "GET", "/api/v1/openapi.json", nil, nil); err != nil {
		return err
	}
	_, page, err := fetch(ctx, w.http, "GET", "http://"+w.addr+"/", "", nil)
	if err != nil {
		return err
	}
	for _, m := range assets.FindAllSubmatch(page, -1) {
		path := "/" + strings.TrimPrefix(strings.TrimPrefix(string(m[1]), "."), "/")
		if _, _, err := fetch(ctx, w.http, "GET", "http://"+w.addr+path, "", nil); err != nil {
			return err
		}
	}
	for i := range b.pick(turns, turns/5) {
		if err := turn(fmt.Sprintf("stream 10 2ms seed=%d", i)); err != nil {
			return err
		}
	}
	return nil
}
