// What a search is narrowed by, in the page's address and in what the host is asked; and the kinds of what it finds.

import type { IconName } from './icons';

/** What a person looks for: what was said, what was run and printed, or what a session is called. */
export const KINDS = ['said', 'run', 'title'] as const;
/** Archived sessions: with the others, not at all, or alone. */
export const ARCHIVED = ['', 'no', 'only'] as const;

export interface Conditions {
  kind: '' | (typeof KINDS)[number];
  session: string;
  /** Its id. */
  project: string;
  tag: string;
  agent: string;
  archived: (typeof ARCHIVED)[number];
}

export const ANYTHING: Conditions = { kind: '', session: '', project: '', tag: '', agent: '', archived: '' };

/** What the address of the page says; what it does not know is no condition. */
export function conditionsOf(query: URLSearchParams): Conditions {
  const one = <T extends string>(name: string, of: readonly T[]): T | '' => of.find((each) => each === query.get(name)) ?? '';
  const text = (name: string) => query.get(name) ?? '';
  return { kind: one('kind', KINDS), session: text('session'), project: text('project'), tag: text('tag'), agent: text('agent'), archived: one('archived', ARCHIVED) };
}

/** The address of a search, without what is no condition. */
export function addressOf(words: string, conditions: Conditions): string {
  return new URLSearchParams(Object.entries({ q: words, ...conditions }).filter(([, value]) => value)).toString();
}

/** What the host is asked. */
export function askedOf(words: string, conditions: Conditions): URLSearchParams {
  const query = new URLSearchParams(addressOf(words, conditions));
  if (conditions.archived) query.set('archived', String(conditions.archived === 'only'));
  return query;
}

export function kindIcon(kind: string): IconName {
  switch (kind) {
    case 'title':
      return 'list';
    case 'user':
      return 'up';
    case 'thought':
      return 'bulb';
    case 'plan':
      return 'plan';
    case 'approval':
      return 'ask';
    case 'notice':
      return 'info';
    case 'tool':
      return 'term';
    default:
      return 'read';
  }
}
