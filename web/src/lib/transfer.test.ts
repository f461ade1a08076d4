import { expect, it } from 'vitest';
import { exportPaths } from './transfer';

it('takes one session as a file, several as archives that the host takes', () => {
  expect(exportPaths(['a b'], 'md')).toEqual(['/api/v1/sessions/a%20b/export?format=md']);
  expect(exportPaths(['a', 'b'], 'jsonl')).toEqual(['/api/v1/export?format=jsonl&ids=a,b']);
  const ids = Array.from({ length: 900 }, (_, i) => `s${i}`);
  const paths = exportPaths(ids, 'html');
  expect(paths.length).toBe(3);
  expect(paths.flatMap((path) => path.split('ids=')[1]!.split(','))).toEqual(ids);
  // A proxy takes no longer line.
  expect(exportPaths(Array.from({ length: 400 }, () => 's_0123456789abcdef'), 'jsonl')[0]!.length).toBeLessThan(8000);
});
