// The kinds of what a search finds.

import type { IconName } from './icons';

export type Kinds = '' | 'said' | 'run' | 'title';

/** What a person looks for: what was said, what was run and printed, or what a session is called. */
export function kindsOf(kind: string): Kinds {
  if (kind === 'title') return 'title';
  return ['user', 'assistant', 'thought', 'plan', 'notice'].includes(kind) ? 'said' : 'run';
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
