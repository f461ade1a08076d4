// What this browser keeps: drafts, messages on their way, what has been read, the theme. Storage may be blocked or
// full; the page works without it, so no call here fails.

const PREFIX = 'holdfast.';

export function read(key: string): string | null {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

export function write(key: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch {
    // See above.
  }
}

export function drop(key: string): void {
  try {
    localStorage.removeItem(PREFIX + key);
  } catch {
    // See above.
  }
}

/** Calls then when another tab has written something whose key begins so. */
export function writtenElsewhere(prefix: string, then: () => void): void {
  window.addEventListener('storage', ({ key }) => key?.startsWith(PREFIX + prefix) && then());
}

/** The entries whose key begins so, with that beginning cut off. */
export function entriesUnder(prefix: string): [key: string, value: string][] {
  const out: [string, string][] = [];
  try {
    for (let i = 0; i < localStorage.length; i++) {
      const key = localStorage.key(i);
      if (!key?.startsWith(PREFIX + prefix)) continue;
      out.push([key.slice(PREFIX.length + prefix.length), localStorage.getItem(key) ?? '']);
    }
  } catch {
    // See above.
  }
  return out;
}

export function readJSON<T>(key: string, otherwise: T): T {
  const text = read(key);
  if (text === null) return otherwise;
  try {
    return JSON.parse(text) as T;
  } catch {
    return otherwise;
  }
}

const TAB = `${PREFIX}tab`;

/** What names this tab, also after a reload or a crash; '' where the browser keeps nothing. make gives a new name. */
export function tabName(make: () => string): string {
  try {
    const name = sessionStorage.getItem(TAB) ?? make();
    sessionStorage.setItem(TAB, name);
    return name;
  } catch {
    return '';
  }
}
