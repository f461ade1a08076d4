import { expect, it } from 'vitest';
import { applies, changedFields, withProject } from './projects';
import type { Project } from './types';

const project = (id: string, name: string, version = 1): Project => ({ id, name, version, cwd: `/${id}`, agent: '' });
const names = (list: Project[]) => list.map((each) => each.name);

it('keeps the projects as the log tells of them', () => {
  const list = [project('a', 'alpha'), project('c', 'Gamma')];
  expect(names(withProject(list, project('b', 'beta'), 'b'))).toEqual(['alpha', 'beta', 'Gamma']);
  expect(names(withProject(list, project('a', 'zeta', 2), 'a'))).toEqual(['Gamma', 'zeta']);
  expect(names(withProject(list, null, 'a'))).toEqual(['Gamma']);
  expect(names(withProject(list, null, 'none'))).toEqual(['alpha', 'Gamma']);
});

it('takes no older state for a newer one', () => {
  const list = [project('a', 'new', 3)];
  expect(withProject(list, project('a', 'old', 2), 'a')).toBe(list);
});

it('a change of a project goes through beside another one, and not over it', () => {
  const was = { name: 'a', cwd: '/a', agent: '' };
  const change = changedFields(was, { ...was, name: 'b' });
  expect(change).toEqual({ name: 'b' });
  expect(changedFields(was, was)).toEqual({});
  expect(applies(change, was, { ...was, agent: 'hermes' })).toBe(true);
  expect(applies(change, was, { ...was, name: 'b' })).toBe(true);
  expect(applies(change, was, { ...was, name: 'c' })).toBe(false);
});
