package store

import (
	"encoding/json"
	"fmt"
	"strings"
)

// CopyItem appends a copy of a closed item of another session, with the outputs
// that were too long for its body.
func (tx *Tx) CopyItem(session string, from Item) error {
	id := NewID()
	body := string(withoutPlace(from))
	if strings.Contains(body, `"blob":"`+from.ID+"-") {
		body = strings.ReplaceAll(body, `"blob":"`+from.ID+"-", `"blob":"`+id+"-")
		err := tx.exec(`INSERT INTO blobs (id, session, data) SELECT ? || substr(id, ?), ?, data FROM blobs WHERE session = ? AND substr(id, 1, ?) = ?`,
			id, len(from.ID)+1, session, from.Session, len(from.ID)+1, from.ID+"-")
		if err != nil {
			return fmt.Errorf("copy outputs of item %s: %w", from.ID, err)
		}
	}
	own, err := ownBody(id, json.RawMessage(body))
	if err != nil {
		return fmt.Errorf("copy item %s: %w", from.ID, err)
	}
	_, err = tx.Append(session, "", ItemCopied, CopiedBody{Item: id, Kind: from.Kind, At: from.At, Body: own})
	return err
}

// ownBody is a body that names the copy where it named the original. The
// client's id is that of the original's message.
func ownBody(id string, body json.RawMessage) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	if fields["item"] == nil {
		return body, nil
	}
	delete(fields, "client_id")
	var err error
	if fields["item"], err = encode(id); err != nil {
		return nil, err
	}
	return encode(fields)
}

// FinishSession makes a session that was begun with Building one like any
// other: lists have it from then on.
func (tx *Tx) FinishSession(session string) error {
	r, err := tx.row(session)
	if err != nil {
		return fmt.Errorf("finish session %s: %w", session, err)
	}
	r.Building = false
	return nil
}

// ImportItem appends an item of a session that is read from a file, as it was
// when it was written there.
func (tx *Tx) ImportItem(session string, it Item) error {
	_, err := tx.Append(session, it.Run, ItemCopied, CopiedBody{Item: it.ID, Kind: it.Kind, At: it.At, Body: it.Body})
	return err
}

// ImportBlob stores an output that was too long for the body of an imported item.
func (tx *Tx) ImportBlob(session, id string, data []byte) error {
	err := tx.exec("INSERT INTO blobs (id, session, data) VALUES (?, ?, ?)", id, session, data)
	if err != nil {
		return fmt.Errorf("import output %s: %w", id, err)
	}
	return nil
}

// ImportFile stores an attachment that an imported message has.
func (tx *Tx) ImportFile(f File, data []byte) error {
	err := tx.exec("INSERT INTO attachments (id, name, mime, created_at, data) VALUES (?, ?, ?, ?, ?)",
		f.ID, f.Name, f.Type, tx.now.UnixMilli(), append([]byte{}, data...))
	if err != nil {
		return fmt.Errorf("import attachment %s: %w", f.Name, err)
	}
	return nil
}

// withoutPlace is an item's body without the original's event by which a message
// that had waited was said into a run: a copy has events of its own.
func withoutPlace(it Item) json.RawMessage {
	var b MessageBody
	var fields map[string]json.RawMessage
	if it.Kind != ItemUser || json.Unmarshal(it.Body, &b) != nil || b.Steer == nil || b.Steer.Seq == 0 || json.Unmarshal(it.Body, &fields) != nil {
		return it.Body
	}
	fields["steer"], _ = encode(Steer{State: b.Steer.State}) // a string always marshals
	body, err := encode(fields)
	if err != nil {
		return it.Body
	}
	return body
}
