import type { Project } from './types';

/** The projects by name, with one as it is now, or without it. An older state of one changes nothing. */
export function withProject(list: Project[], now: Project | null, id: string): Project[] {
  const before = list.find((project) => project.id === id);
  if (now && before && before.version > now.version) return list;
  const rest = list.filter((project) => project.id !== id);
  if (!now) return rest;
  return [...rest, now].sort((a, b) => a.name.localeCompare(b.name, undefined, { sensitivity: 'base' }) || (a.id < b.id ? -1 : 1));
}
