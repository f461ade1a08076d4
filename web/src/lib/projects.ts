import type { Project } from './types';

/** The projects by name, with one as it is now, or without it. An older state of one changes nothing. */
export function withProject(list: Project[], now: Project | null, id: string): Project[] {
  const before = list.find((project) => project.id === id);
  if (now && before && before.version > now.version) return list;
  const rest = list.filter((project) => project.id !== id);
  if (!now) return rest;
  return [...rest, now].sort((a, b) => a.name.localeCompare(b.name, undefined, { sensitivity: 'base' }) || (a.id < b.id ? -1 : 1));
}

export type ProjectFields = Pick<Project, 'name' | 'cwd' | 'agent'>;

/** What a person changed of a project, as it was when the form was opened. */
export function changedFields(was: ProjectFields, is: ProjectFields): Partial<ProjectFields> {
  return Object.fromEntries((['name', 'cwd', 'agent'] as const).filter((field) => is[field] !== was[field]).map((field) => [field, is[field]]));
}

/** Whether a change is still of what the person saw: nobody has set another value there meanwhile. */
export function applies(change: Partial<ProjectFields>, was: ProjectFields, now: ProjectFields): boolean {
  return (Object.keys(change) as (keyof ProjectFields)[]).every((field) => now[field] === was[field] || now[field] === change[field]);
}
