// Package acp is the codec of the Agent Client Protocol, version 1: JSON-RPC
// 2.0, one message a line. It parses and builds lines, names the protocol's
// types, and has a small connection for programs on the agent's side.
//
// The host has no connection object on purpose: its lines travel through the
// outbox and the spool, so it uses the codec alone. Nothing here starts a
// process, keeps state for the host, or logs.
package acp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ProtocolVersion is the only version that we offer.
const ProtocolVersion = 1

// MaxLine is the longest line, in bytes, that a reader of the protocol must
// take. Lines of half a megabyte are ordinary (command lists), ten megabytes
// happen (a file as tool output).
const MaxLine = 64 << 20

// ErrNotMessage is returned by Parse for a line that is no JSON-RPC 2.0
// message: text that an agent printed to stdout, a torn line, a batch.
var ErrNotMessage = errors.New("not a JSON-RPC 2.0 message")

// Message is one JSON-RPC line, whatever its direction.
type Message struct {
	// ID holds the id's bytes as they stood in the line; nil when absent.
	// An id of null is present: its bytes are "null".
	ID     json.RawMessage
	Method string
	// Params, Result are nil when absent. A result of null is present.
	Params, Result json.RawMessage
	Error          *Error
}

// IsRequest reports whether the message wants a response.
func (m Message) IsRequest() bool { return m.Method != "" && m.ID != nil }

// IsNotification reports whether the message is a call without an id.
func (m Message) IsNotification() bool { return m.Method != "" && m.ID == nil }

// IsResponse reports whether the message carries a result or an error.
func (m Message) IsResponse() bool {
	return m.Method == "" && (m.Result != nil || m.Error != nil)
}

// Parse reads one line. White space around it, a carriage return and unknown
// root fields are tolerated. The message does not alias line. Every error
// wraps ErrNotMessage.
func Parse(line []byte) (Message, error) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return Message{}, fmt.Errorf("parse line: %w", ErrNotMessage)
	}
	var w struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  *string         `json:"method"`
		Params  json.RawMessage `json:"params"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(line, &w); err != nil {
		return Message{}, fmt.Errorf("parse line: %w: %w", ErrNotMessage, err)
	}
	if w.JSONRPC != "2.0" || !validID(w.ID) {
		return Message{}, fmt.Errorf("parse line: %w", ErrNotMessage)
	}
	m := Message{ID: w.ID, Params: w.Params, Result: w.Result}
	if w.Method != nil {
		m.Method = *w.Method
	}
	if len(w.Error) > 0 && !isNull(w.Error) {
		m.Error = parseError(w.Error)
	}
	if m.Method == "" && m.Result == nil && m.Error == nil {
		return Message{}, fmt.Errorf("parse line: %w", ErrNotMessage)
	}
	return m, nil
}

func validID(id json.RawMessage) bool {
	if id == nil {
		return true
	}
	switch c := id[0]; {
	case c == '"', c == '-', '0' <= c && c <= '9':
		return true
	default:
		return isNull(id)
	}
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// ID is what a request can be numbered with: a number of ours, or the bytes of
// an id.
type ID interface {
	uint64 | int64 | int | json.RawMessage
}

// Request builds the line of a request, without a line feed. Nil params are
// left out.
func Request[T ID](id T, method string, params any) ([]byte, error) {
	b, err := begin(idBytes(id))
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", method, err)
	}
	return call(b, method, params)
}

// Notification builds the line of a notification, without a line feed.
func Notification(method string, params any) ([]byte, error) {
	return call([]byte(`{"jsonrpc":"2.0"`), method, params)
}

// Response builds the line that answers the request with that id, which is
// written byte for byte. A nil result becomes null.
func Response(id json.RawMessage, result any) ([]byte, error) {
	b, err := begin(id)
	if err != nil {
		return nil, fmt.Errorf("build response: %w", err)
	}
	raw, err := encode(result)
	if err != nil {
		return nil, fmt.Errorf("build response: %w", err)
	}
	b = append(b, `,"result":`...)
	b = append(b, raw...)
	return append(b, '}'), nil
}

// ErrorResponse builds the line that refuses the request with that id.
func ErrorResponse(id json.RawMessage, code int, message string) []byte {
	b, err := ErrorResponseWith(id, &Error{Code: code, Message: message})
	if err != nil {
		// Only a malformed id gets here, and JSON-RPC says null for an
		// id that cannot be read.
		b, _ = ErrorResponseWith(json.RawMessage("null"), &Error{Code: code, Message: message})
	}
	return b
}

// ErrorResponseWith is ErrorResponse for an error with data.
func ErrorResponseWith(id json.RawMessage, e *Error) ([]byte, error) {
	b, err := begin(id)
	if err != nil {
		return nil, fmt.Errorf("build error response: %w", err)
	}
	raw, err := encode(e)
	if err != nil {
		return nil, fmt.Errorf("build error response: %w", err)
	}
	b = append(b, `,"error":`...)
	b = append(b, raw...)
	return append(b, '}'), nil
}

// IDKey returns a form of an id that is equal for equal ids of one process
// and direction. It is for maps; answers carry the raw bytes.
func IDKey(id json.RawMessage) string { return string(bytes.TrimSpace(id)) }

func idBytes[T ID](id T) json.RawMessage {
	switch v := any(id).(type) {
	case uint64:
		return strconv.AppendUint(nil, v, 10)
	case int:
		return strconv.AppendInt(nil, int64(v), 10)
	case int64:
		return strconv.AppendInt(nil, v, 10)
	case json.RawMessage:
		return v
	}
	return nil
}

func call(b []byte, method string, params any) ([]byte, error) {
	name, err := encode(method)
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", method, err)
	}
	b = append(b, `,"method":`...)
	b = append(b, name...)
	if params != nil {
		raw, err := encode(params)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", method, err)
		}
		b = append(b, `,"params":`...)
		b = append(b, raw...)
	}
	return append(b, '}'), nil
}

// begin opens a line with an id. The id is spliced in as it is: an encoder
// would escape, say, the angle bracket in "<1>", and the agent would not know
// its id again.
func begin(id json.RawMessage) ([]byte, error) {
	if len(id) == 0 || !validID(id) || !json.Valid(id) || bytes.ContainsAny(id, "\r\n") {
		return nil, fmt.Errorf("id %q is no JSON-RPC id", id)
	}
	b := append([]byte(`{"jsonrpc":"2.0","id":`), id...)
	return b, nil
}

// encode marshals without HTML escapes; raw messages inside are compacted, so
// the result has no line feed.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Codes of JSON-RPC and of ACP.
const (
	CodeParseError       = -32700
	CodeInvalidRequest   = -32600
	CodeMethodNotFound   = -32601
	CodeInvalidParams    = -32602
	CodeInternalError    = -32603
	CodeAuthRequired     = -32000
	CodeResourceNotFound = -32002
	CodeRequestCancelled = -32800
)

// Error is a JSON-RPC error object.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitzero"`
}

var _ error = (*Error)(nil)

// Error gives the message, what Details finds, and the code.
func (e *Error) Error() string {
	s := e.Message
	if d := e.Details(); d != "" && d != s {
		if s != "" {
			s += ": "
		}
		s += d
	}
	return fmt.Sprintf("%s (code %d)", s, e.Code)
}

// Details returns the sentence that agents put beside a generic message:
// data.details or data.message, or data itself where it is text.
func (e *Error) Details() string {
	var text string
	if json.Unmarshal(e.Data, &text) == nil {
		return strings.TrimSpace(text)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(e.Data, &fields) != nil {
		return ""
	}
	for _, name := range []string{"details", "message"} {
		if json.Unmarshal(fields[name], &text) == nil && strings.TrimSpace(text) != "" {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// parseError never fails: a response whose error object is malformed is still
// a response, and whoever waits for it must not wait for ever.
func parseError(raw json.RawMessage) *Error {
	var e Error
	if json.Unmarshal(raw, &e) == nil {
		return &e
	}
	e = Error{Code: CodeInternalError, Data: raw}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) == nil {
		_ = json.Unmarshal(fields["message"], &e.Message)
	}
	return &e
}
