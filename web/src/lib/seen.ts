// What this browser has shown of a session, and whether there is more by now.

import type { SessionRow } from './types';

export interface Seen {
  /** Of the session's last event that was there. */
  seq: number;
  /** Its id; not here where an older page wrote this. */
  event?: number;
  at: number;
}

/**
 * Whether something was said, asked or done that this browser has not shown, by whom ever: what a person asked for on
 * another device is answered by the agent, and the answer is new here. What was never opened counts as read up to the
 * event begin.
 */
export function unread(row: Pick<SessionRow, 'activity' | 'last_at'>, seen: Seen | null, begin: number): boolean {
  if (!seen) return row.activity > begin;
  return seen.event === undefined ? Date.parse(row.last_at) > seen.at : row.activity > seen.event;
}
