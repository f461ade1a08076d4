package store

import (
	"sort"
	"sync"
)

const (
	openBytesMax = 16 << 20 // of one open item's entries; beyond, the log is asked
	openMax      = 1024     // items
)

// openItems keeps what open items have grown by, so that neither a reader nor
// the close of an item need scan the log. Only the writer changes it; a reader
// takes the entries up to the event that its snapshot ends with.
type openItems struct {
	mu    sync.RWMutex
	items map[string]*openItem
}

type openItem struct {
	item    Item // as the first event made it
	entries []entry
	bytes   int
	partial bool // the entries are too many to be kept here
}

func newOpenItems() *openItems { return &openItems{items: map[string]*openItem{}} }

func (o *openItems) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.items)
}

// get is for the writer.
func (o *openItems) get(id string) *openItem { return o.items[id] }

func (o *openItems) put(oi *openItem) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items[oi.item.ID] = oi
}

func (o *openItems) drop(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.items, id)
}

func (o *openItems) add(oi *openItem, e entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	oi.bytes += len(e.text) + len(e.body)
	if oi.partial || oi.bytes > openBytesMax {
		oi.entries, oi.partial = nil, true
		return
	}
	oi.entries = append(oi.entries, e)
}

// cut takes the last entry back.
func (o *openItems) cut(oi *openItem, e entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if oi.partial {
		delete(o.items, oi.item.ID) // asked of the log next time
		return
	}
	oi.bytes -= len(e.text) + len(e.body)
	oi.entries = oi.entries[:len(oi.entries)-1]
}

// upTo returns the entries with ids up to last, or false where the log must be
// asked. The slice must not be changed.
func (o *openItems) upTo(id string, last int64) ([]entry, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	oi := o.items[id]
	if oi == nil || oi.partial {
		return nil, false
	}
	n := sort.Search(len(oi.entries), func(i int) bool { return oi.entries[i].id > last })
	return oi.entries[:n:n], true
}

// forget drops the items of a session that is being deleted.
func (o *openItems) forget(session string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, oi := range o.items {
		if oi.item.Session == session {
			delete(o.items, id)
		}
	}
}

// trim is for the writer, between transactions.
func (o *openItems) trim() {
	if len(o.items) > openMax {
		o.clear()
	}
}
