package push

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser is the far end: a push service, and the keys of a browser that
// decrypts what it is given (RFC 8291).
type browser struct {
	t    *testing.T
	key  *ecdh.PrivateKey
	auth []byte
	url  string
	got  chan delivered

	mu     sync.Mutex
	answer []int // statuses of the next requests; then 201
}

type delivered struct {
	Payload
	header http.Header
}

func newBrowser(t *testing.T) (*browser, *httptest.Server) {
	t.Helper()
	b := &browser{t: t, auth: make([]byte, 16), got: make(chan delivered, 100)}
	rand.Read(b.auth)
	var err error
	if b.key, err = ecdh.P256().GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(b)
	t.Cleanup(srv.Close)
	b.url = srv.URL + "/send/abc"
	return b, srv
}

func (b *browser) subscription() Subscription {
	return Subscription{
		Endpoint: b.url, P256DH: base64.RawURLEncoding.EncodeToString(b.key.PublicKey().Bytes()), Auth: base64.RawURLEncoding.EncodeToString(b.auth),
	}
}

func (b *browser) answers(status ...int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = status
}

func (b *browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Error(err)
	}
	b.mu.Lock()
	status := http.StatusCreated
	if len(b.answer) > 0 {
		status, b.answer = b.answer[0], b.answer[1:]
	}
	b.mu.Unlock()
	if status/100 == 2 {
		d := delivered{header: r.Header}
		if err := json.Unmarshal(b.open(body), &d.Payload); err != nil {
			b.t.Error(err)
		}
		b.got <- d
	}
	w.WriteHeader(status)
}

// open decrypts a body of one record (RFC 8188, section 2; RFC 8291, section 3.4).
func (b *browser) open(body []byte) []byte {
	b.t.Helper()
	salt, size, n := body[:16], binary.BigEndian.Uint32(body[16:20]), int(body[20])
	sender, rest := body[21:21+n], body[21+n:]
	if uint32(len(rest)) > size {
		b.t.Errorf("a record of %d bytes in one of %d", len(rest), size)
	}
	public, err := ecdh.P256().NewPublicKey(sender)
	if err != nil {
		b.t.Fatal(err)
	}
	shared, err := b.key.ECDH(public)
	if err != nil {
		b.t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		out, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			b.t.Fatal(err)
		}
		return out
	}
	ikm := derive(shared, b.auth, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(sender), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		b.t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), rest, nil)
	if err != nil {
		b.t.Fatalf("what was sent cannot be decrypted: %v", err)
	}
	return []byte(strings.TrimSuffix(strings.TrimRight(string(text), "\x00"), "\x02"))
}

func (b *browser) next() delivered {
	b.t.Helper()
	select {
	case d := <-b.got:
		return d
	case <-time.After(20 * time.Second):
		b.t.Fatal("no notification came")
		return delivered{}
	}
}

// world is a store with one session and the service under test.
type world struct {
	t      *testing.T
	log    *store.Store
	s      *Service
	device string
	opts   Options
	stop   func()
	ahead  atomic.Int64 // of the clock
}

func newWorld(t *testing.T, srv *httptest.Server) *world {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "holdfast.db"), BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{t: t, log: db, stop: func() {}}
	w.opts = Options{Store: db, Log: slog.New(slog.DiscardHandler), Contact: "https://box.example.org", Test: strings.TrimPrefix(srv.URL, "http://"), Pause: time.Millisecond}
	w.opts.Now = func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	c, err := db.AddCredential(t.Context(), store.Credential{Kind: "cookie", Name: "phone", Hash: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	w.device = c.ID
	err = db.Update(store.Durable, func(tx *store.Tx) error {
		_, err := tx.CreateSession(store.Session{ID: "s1", Agent: "tour", Cwd: "/", Title: "Mend the roof"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.life()
	return w
}

// life ends the service and begins another on the same store.
func (w *world) life() {
	w.t.Helper()
	w.stop()
	s, err := New(w.t.Context(), w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.s = s
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		s.client.CloseIdleConnections()
	})
	w.t.Cleanup(w.stop)
}

func (w *world) append(kind store.Kind, body any) {
	w.t.Helper()
	err := w.log.Update(store.Durable, func(tx *store.Tx) error {
		_, err := tx.Append("s1", "r1", kind, body)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ask(id string) {
	w.t.Helper()
	err := w.log.Update(store.Durable, func(tx *store.Tx) error {
		_, err := tx.RequestApproval(store.Approval{
			ID: id, Session: "s1", Run: "r1", Title: "Run rm -rf build?",
			Options: []store.ApprovalOption{{ID: "always", Name: "Always", Kind: "allow_always"}, {ID: "yes", Name: "Yes", Kind: "allow_once"}, {ID: "no", Name: "No", Kind: "reject_once"}},
		})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) subscribe(b *browser, level string) {
	w.t.Helper()
	if err := w.s.Subscribe(w.t.Context(), w.device, b.subscription(), level); err != nil {
		w.t.Fatal(err)
	}
}

func TestTells(t *testing.T) {
	b, srv := newBrowser(t)
	w := newWorld(t, srv)
	w.subscribe(b, All)
	w.append(store.RunEnded, store.RunBody{Run: "r1", Reason: store.EndTurn})
	d := b.next()
	if d.V != 1 || d.Kind != KindEnded || d.Session != "s1" || d.Title != "Mend the roof" || d.Path != "/s/s1" || len(d.Actions) > 0 {
		t.Errorf("%+v", d.Payload)
	}
	if h := d.header; h.Get("Content-Encoding") != "aes128gcm" || h.Get("TTL") != "43200" || len(h.Get("Topic")) != 24 || !strings.HasPrefix(h.Get("Authorization"), "vapid t=") || !strings.Contains(h.Get("Authorization"), w.s.PublicKey()) {
		t.Errorf("%v", h)
	}
	w.append(store.RunEnded, store.RunBody{Run: "r1", Reason: store.Failed, Detail: "the disk is full"})
	if d := b.next(); d.Kind != KindFailed || d.Text != "the disk is full" {
		t.Errorf("%+v", d.Payload)
	}
	w.append(store.RunEnded, store.RunBody{Run: "r1", Reason: store.Cancelled})
	w.ask("a1")
	d = b.next()
	if d.Kind != KindNeeds || d.Text != "Run rm -rf build?" || d.Tag != "ask-a1" || d.header.Get("Urgency") != "high" || len(d.Actions) != 2 {
		t.Fatalf("%+v", d.Payload)
	}
	for i, want := range []Answer{{"a1", "yes", w.device}, {"a1", "no", w.device}} {
		got, err := w.s.Redeem(d.Actions[i].Capability)
		if err != nil || got != want {
			t.Errorf("%+v, want %+v: %v", got, want, err)
		}
		for _, bad := range []string{"", "x." + d.Actions[i].Capability, d.Actions[i].Capability[:20], d.Actions[i].Capability[:len(d.Actions[i].Capability)-2], strings.Replace(d.Actions[i].Capability, ".", "", 1)} {
			if _, err := w.s.Redeem(bad); !errors.Is(err, ErrCapability) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	}
	// Of another life of the host it is still good; of a device that was logged
	// out it is not.
	w.life()
	if _, err := w.s.Redeem(d.Actions[0].Capability); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := w.log.RemoveCredential(t.Context(), w.device); err != nil {
		t.Fatal(err)
	}
	w.s.Forget(w.device)
	if _, err := w.s.Redeem(d.Actions[0].Capability); !errors.Is(err, ErrCapability) {
		t.Errorf("of a device that was logged out: %v", err)
	}
	if left, err := w.log.Pushes(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("a subscription outlived its device: %v %v", left, err)
	}
}

func TestCapabilityEnds(t *testing.T) {
	b, srv := newBrowser(t)
	w := newWorld(t, srv)
	w.subscribe(b, All)
	w.ask("a1")
	d := b.next()
	w.ahead.Add(int64(capabilityLife + time.Minute))
	if _, err := w.s.Redeem(d.Actions[0].Capability); !errors.Is(err, ErrCapability) {
		t.Errorf("after a day: %v", err)
	}
}

func TestLevels(t *testing.T) {
	b, srv := newBrowser(t)
	w := newWorld(t, srv)
	w.subscribe(b, Needs)
	end := func() { w.append(store.RunEnded, store.RunBody{Run: "r1", Reason: store.EndTurn}) }
	end()
	w.ask("a1")
	if d := b.next(); d.Tag != "ask-a1" {
		t.Errorf("told of an end: %+v", d.Payload)
	}
	set := func(session, level string) {
		if err := w.s.SetLevel(t.Context(), w.device, session, level); err != nil {
			t.Fatal(err)
		}
	}
	set("s1", None)
	w.ask("a2")
	w.life() // what is set is kept
	set("s1", All)
	end()
	if d := b.next(); d.Kind != KindEnded {
		t.Errorf("%+v", d.Payload)
	}
	set("s1", "")
	set("", All)
	end()
	b.next()
	if got := w.s.Settings(w.device); !got.Subscribed || got.Level != All || len(got.Sessions) > 0 {
		t.Errorf("%+v", got)
	}
	if err := w.s.SetLevel(t.Context(), w.device, "", "loud"); !errors.Is(err, ErrLevel) {
		t.Error(err)
	}
	if err := w.s.Unsubscribe(t.Context(), w.device); err != nil {
		t.Fatal(err)
	}
	if got := w.s.Settings(w.device); got.Subscribed {
		t.Error("still subscribed")
	}
}

func TestWhatIsLookedAt(t *testing.T) {
	b, srv := newBrowser(t)
	w := newWorld(t, srv)
	w.subscribe(b, All)
	wait := func(d time.Duration) { w.ahead.Add(int64(d)) }
	n := 0
	told := func() bool {
		n++
		id := "a" + strings.Repeat("x", n)
		w.ask(id)
		deadline := time.Now().Add(10 * time.Second)
		for at := w.log.Last(); ; time.Sleep(time.Millisecond) {
			w.s.mu.Lock()
			seen, open := w.s.seen, len(w.s.open)
			w.s.mu.Unlock()
			if seen >= at && open == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the event was not looked at")
			}
		}
		select {
		case <-b.got:
			return true
		default:
			return false
		}
	}
	if !told() {
		t.Error("nobody looks, and nothing was told")
	}
	w.s.Look(w.device, "t1", "s1", true)
	if told() {
		t.Error("told of what the device shows")
	}
	w.s.Look(w.device, "t1", "s2", true)
	if !told() {
		t.Error("another session is shown")
	}
	w.s.Look(w.device, "t1", "", false)
	w.s.Look("desk", "t9", "s1", true)
	if told() {
		t.Error("told of what somebody works at on another device")
	}
	wait(handsTime + time.Second)
	if !told() {
		t.Error("a screen before which nobody sits keeps the phone quiet")
	}
	w.s.Look(w.device, "t1", "s1", true)
	wait(handsTime + time.Second)
	if told() {
		t.Error("a visible tab of the device itself counts for longer")
	}
	for i := range 3 * maxTabs {
		w.s.Look(w.device, strings.Repeat("t", i+1), "s1", true)
	}
	if n := len(w.s.looks[w.device]); n > maxTabs {
		t.Errorf("%d tabs are remembered", n)
	}
}

func TestRetriesAndDeadSubscriptions(t *testing.T) {
	b, srv := newBrowser(t)
	w := newWorld(t, srv)
	w.subscribe(b, All)
	b.answers(503, 429, 201)
	w.ask("a1")
	if d := b.next(); d.Tag != "ask-a1" {
		t.Errorf("%+v", d.Payload)
	}
	b.answers(500, 500, 500, 500, 500) // given up
	w.ask("a2")
	w.ask("a3")
	if d := b.next(); d.Tag != "ask-a3" {
		t.Errorf("%+v", d.Payload)
	}
	b.answers(410)
	w.ask("a4")
	deadline := time.Now().Add(10 * time.Second)
	for w.s.Settings(w.device).Subscribed {
		if time.Now().After(deadline) {
			t.Fatal("a dead subscription stays")
		}
		time.Sleep(time.Millisecond)
	}
	if left, err := w.log.Pushes(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("%v %v", left, err)
	}
}

// TestSurvivesRestart: what could not be delivered is told by the next life,
// and what was delivered is not told again.
func TestSurvivesRestart(t *testing.T) {
	b, srv := newBrowser(t)
	w := newWorld(t, srv)
	w.subscribe(b, All)
	w.ask("a1")
	b.next()
	w.stop()
	w.ask("a2") // while no host runs
	w.life()
	if d := b.next(); d.Tag != "ask-a2" {
		t.Errorf("%+v", d.Payload)
	}
	w.opts.Pause = time.Hour
	w.life()
	b.answers(503)
	w.ask("a3")
	deadline := time.Now().Add(10 * time.Second)
	for {
		b.mu.Lock()
		tried := len(b.answer) == 0
		b.mu.Unlock()
		if tried {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("not tried")
		}
		time.Sleep(time.Millisecond)
	}
	w.life() // while the message waits to be tried again
	if d := b.next(); d.Tag != "ask-a3" {
		t.Errorf("%+v", d.Payload)
	}
	select {
	case d := <-b.got:
		t.Errorf("told again: %+v", d.Payload)
	default:
	}
}

func TestEndpoints(t *testing.T) {
	b, srv := newBrowser(t)
	w := newWorld(t, srv)
	good := b.subscription()
	for _, endpoint := range []string{
		"http://push.example.org/x", "https://127.0.0.1/x", "https://[::1]/x", "https://10.1.2.3/x", "https://169.254.169.254/latest",
		"https://100.64.1.1/x", "https://localhost/x", "https://printer.local/x", "https://box/x", "https://push.example.org:8443/x",
		"https://user@push.example.org/x", "https://[::ffff:10.0.0.1]/x", "ftp://push.example.org/x", "x",
	} {
		if err := w.s.Subscribe(t.Context(), w.device, Subscription{Endpoint: endpoint, P256DH: good.P256DH, Auth: good.Auth}, All); !errors.Is(err, ErrEndpoint) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	if err := w.s.Subscribe(t.Context(), w.device, Subscription{Endpoint: "https://updates.push.example.org/x", P256DH: good.P256DH, Auth: good.Auth}, All); err != nil {
		t.Error(err)
	}
	for _, bad := range []Subscription{{good.Endpoint, good.P256DH[:20], good.Auth}, {good.Endpoint, good.P256DH, "AAAA"}, {good.Endpoint, strings.Repeat("A", 87), good.Auth}} {
		if err := w.s.Subscribe(t.Context(), w.device, bad, All); !errors.Is(err, ErrKeys) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	// A name that leads to a private address is refused at the connection.
	plain := &Service{o: Options{}}
	_, err := plain.newClient().Get(srv.URL)
	if !errors.Is(err, errPrivate) {
		t.Errorf("a connection to this machine: %v", err)
	}
	for addr, want := range map[string]bool{"8.8.8.8": true, "2606:4700::1111": true, "::ffff:127.0.0.1": false, "fe80::1": false, "fd00::1": false, "224.0.0.1": false, "64:ff9b::a00:1": false} {
		if got := public(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestKeysAreMadeOnce(t *testing.T) {
	_, srv := newBrowser(t)
	w := newWorld(t, srv)
	key := w.s.PublicKey()
	w.life()
	if got := w.s.PublicKey(); got != key || len(key) < 80 {
		t.Errorf("%q, then %q", key, got)
	}
}
