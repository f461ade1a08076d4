import { expect, it } from 'vitest';
import { withProject } from './projects';
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
