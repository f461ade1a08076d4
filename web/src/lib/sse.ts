// A parser of text/event-stream. EventSource is not used because it hides the status of a refused connection and the
// arrival of heartbeats, and both decide what the page says.

export interface SSEMessage {
  event: string;
  data: string;
  /** The last id seen up to and with this message. */
  id: string;
}

export class SSEParser {
  private rest = '';
  private event = '';
  private data: string[] = [];
  private pendingId: string;

  /** @param id the cursor that the connection began with; it is what an id-less message carries. */
  constructor(id = '') {
    this.pendingId = id;
  }

  /** The messages that this piece completes. A block with an id and no data gives one with empty data: a heartbeat. */
  push(chunk: string): SSEMessage[] {
    const out: SSEMessage[] = [];
    let text = this.rest + chunk;
    // A CR at the end may be half of a CR LF.
    let hold = '';
    if (text.endsWith('\r')) {
      hold = '\r';
      text = text.slice(0, -1);
    }
    const lines = text.split(/\r\n|\n|\r/);
    this.rest = lines.pop()! + hold;
    for (const line of lines) {
      const message = this.line(line);
      if (message) out.push(message);
    }
    return out;
  }

  private sawId = false;

  private line(line: string): SSEMessage | null {
    if (line === '') {
      const has = this.data.length > 0 || this.event !== '' || this.sawId;
      const message = has ? { event: this.event || 'message', data: this.data.join('\n'), id: this.pendingId } : null;
      this.event = '';
      this.data = [];
      this.sawId = false;
      return message;
    }
    if (line.startsWith(':')) return null;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.data.push(value);
    else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) {
      this.pendingId = value;
      this.sawId = true;
    }
    return null;
  }
}
