package store

import (
	"context"
	"fmt"
	"time"
)

// AttachmentMax is the longest attachment, in bytes.
const AttachmentMax = 20 << 20

// Attachment is a file that a person gave with a message.
type Attachment struct {
	ID        string
	Name      string
	MIME      string
	CreatedAt time.Time
	Data      []byte
}

// PutAttachment stores a file and returns its id, or ErrTooLarge.
func (s *Store) PutAttachment(_ context.Context, name, mime string, data []byte) (string, error) {
	if len(data) > AttachmentMax {
		return "", fmt.Errorf("put attachment %s of %d bytes, at most %d: %w", name, len(data), AttachmentMax, ErrTooLarge)
	}
	id := NewID()
	err := s.Update(Durable, func(tx *Tx) error {
		return tx.exec("INSERT INTO attachments (id, name, mime, created_at, data) VALUES (?, ?, ?, ?, ?)",
			id, name, mime, tx.now.UnixMilli(), append([]byte{}, data...))
	})
	if err != nil {
		return "", fmt.Errorf("put attachment %s: %w", name, err)
	}
	return id, nil
}

// File returns what is shown of an attachment, or ErrNotFound.
func (tx *Tx) File(id string) (f File, err error) {
	err = tx.one("SELECT id, name, mime, length(data) FROM attachments WHERE id = ?", []any{id}, &f.ID, &f.Name, &f.Type, &f.Size)
	return f, err
}

// FileData returns the content of an attachment, or ErrNotFound.
func (tx *Tx) FileData(id string) (data []byte, err error) {
	err = tx.one("SELECT data FROM attachments WHERE id = ?", []any{id}, &data)
	return data, err
}

// Attachment returns a file, or ErrNotFound.
func (s *Store) Attachment(ctx context.Context, id string) (a Attachment, err error) {
	var created int64
	err = s.view(ctx, func(q *reading) error {
		return q.one("SELECT id, name, mime, created_at, data FROM attachments WHERE id = ?", []any{id}, &a.ID, &a.Name, &a.MIME, &created, &a.Data)
	})
	if err != nil {
		return Attachment{}, fmt.Errorf("read attachment %s: %w", id, err)
	}
	a.CreatedAt = fromMillis(created)
	return a, nil
}

// HasAttachment tells whether an attachment is there, without its content.
func (s *Store) HasAttachment(ctx context.Context, id string) (has bool, err error) {
	err = s.view(ctx, func(q *reading) error {
		return q.one("SELECT EXISTS (SELECT 1 FROM attachments WHERE id = ?)", []any{id}, &has)
	})
	if err != nil {
		return false, fmt.Errorf("look for attachment %s: %w", id, err)
	}
	return has, nil
}
