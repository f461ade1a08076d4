// Requests to the host. Every refusal is a Problem, whatever its cause, so a caller shows one thing: what, why, remedy.

import { t } from '../i18n/index.svelte';
import { base } from './base';

/** A problem document (RFC 9457) of the host, or the lack of an answer (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    /** The whole document: a 409 carries the answer that won. */
    readonly body: Record<string, unknown> = {},
    readonly retryAfter = 0,
  ) {
    super(detail ? `${title}: ${detail}` : title);
  }

  /** The same request may succeed later without a change. */
  get passing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** Nobody answered. */
export const noAnswer = () => new Problem(0, 'no_answer', t.problem.noAnswer, t.problem.noAnswerWhy);

/** One request; extra are headers of the caller's own. */
export async function request<T>(
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
  extra: Record<string, string> = {},
): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json', ...extra };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(base + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      signal: signal ?? AbortSignal.timeout(30_000),
    });
  } catch {
    throw noAnswer();
  }
  if (!response.ok) throw await problemOf(response);
  if (response.status === 204) return undefined as T;
  try {
    const text = await response.text();
    return (text ? JSON.parse(text) : undefined) as T;
  } catch {
    throw new Problem(response.status, 'bad_answer', t.problem.badAnswer, `${method} ${path}`);
  }
}

export async function problemOf(response: Response): Promise<Problem> {
  return problem(response.status, await response.text().catch(() => ''), response.statusText, Number(response.headers.get('Retry-After')) || 0);
}

/** What an answer says that is none, or not the one that was hoped for. */
export function problem(status: number, body: string, statusText = '', retryAfter = 0): Problem {
  const doc = documentOf(body);
  const text = (key: string, otherwise: string) => (typeof doc[key] === 'string' ? (doc[key] as string) : otherwise);
  return new Problem(status, text('code', `http_${status}`), text('title', statusText || t.problem.status(status)), text('detail', ''), doc, retryAfter);
}

/** An object of JSON; a proxy between may answer without one, and the status says enough. */
export function documentOf(body: string): Record<string, unknown> {
  try {
    const doc: unknown = JSON.parse(body);
    return typeof doc === 'object' && doc !== null ? (doc as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

/**
 * Changes what has a version and was seen as old. Where another was faster, it is read again, and tried again as long as
 * the change still fits what is there.
 */
export async function changeSeen<T extends { version: number }>(path: string, change: unknown, old: T, again: () => Promise<T | null | undefined>, fits: (now: T) => boolean): Promise<T> {
  let seen = old;
  for (let tries = 0; ; tries++) {
    try {
      return await request<T>('PATCH', path, change, undefined, { 'If-Match': `"${seen.version}"` });
    } catch (error) {
      const conflict = error instanceof Problem && error.status === 412;
      const now = conflict && tries < 3 ? await again() : null;
      if (!now || !fits(now)) throw error;
      seen = now;
    }
  }
}

export const get = <T>(path: string, signal?: AbortSignal) => request<T>('GET', path, undefined, signal);
export const post = <T>(path: string, body: unknown = {}) => request<T>('POST', path, body);

/** What a person reads of an error: the thing that failed, then the cause. */
export function explain(thing: string, error: unknown): string {
  if (error instanceof Problem) {
    return t.common.cause(thing, error.detail || error.title);
  }
  return `${thing}.`;
}

export function newId(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  // randomUUID is absent outside secure contexts, which a LAN address is.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
