// What a person is about to name in a message: a command at its beginning, a file after an @.

export interface Trigger {
  kind: 'command' | 'file';
  /** What was typed after the sign. */
  query: string;
  /** The place of the sign, and the end of what was typed after it. */
  from: number;
  to: number;
}

/** What the caret stands behind, or null. */
export function triggerAt(text: string, caret: number): Trigger | null {
  const before = text.slice(0, caret);
  const command = /^\/([^\s/]*)$/.exec(before);
  if (command) return { kind: 'command', query: command[1]!, from: 0, to: caret };
  // A mail address has its @ within a word. A path in quotes may hold spaces.
  const file = /(?:^|[\s([{])@(?:"([^"\n]*)|([^\s"@]*))$/.exec(before);
  if (!file) return null;
  const quoted = file[1] !== undefined;
  const query = file[1] ?? file[2] ?? '';
  return { kind: 'file', query, from: caret - query.length - (quoted ? 2 : 1), to: caret };
}

/** The text with what the trigger holds put in another's place, and where the caret is then. */
export function replaced(text: string, trigger: Trigger, by: string): { text: string; caret: number } {
  const after = text.slice(trigger.to);
  // One space between it and what follows, which may be there already.
  const put = by.endsWith(' ') && /^\s/.test(after) ? by.slice(0, -1) : by;
  return { text: text.slice(0, trigger.from) + put + after, caret: trigger.from + put.length + (put === by ? 0 : 1) };
}

/** How a message names a file of the session's folder. A folder stays open: one goes on to what lies in it. */
export function mention(path: string, dir: boolean): string {
  const whole = dir && !path.endsWith('/') ? `${path}/` : path;
  if (!/\s/.test(whole)) return dir ? `@${whole}` : `@${whole} `;
  return dir ? `@"${whole}` : `@"${whole}" `;
}
