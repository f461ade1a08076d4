import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SSEParser } from './sse';

describe('SSEParser', () => {
  const text = 'retry: 1000\nevent: ping\nid: g-1\ndata: {}\n\n: comment\n\nid: g-2\r\ndata: one\r\ndata:two\r\n\r\ndata: three\n\nid: g-3\n\nevent: resync\ndata: {}\n\n';
  const all = [
    { event: 'ping', data: '{}', id: 'g-1' },
    { event: 'message', data: 'one\ntwo', id: 'g-2' },
    { event: 'message', data: 'three', id: 'g-2' },
    { event: 'message', data: '', id: 'g-3' },
    { event: 'resync', data: '{}', id: 'g-3' },
  ];

  it('reads messages, heartbeats and comments', () => {
    expect(new SSEParser('g-0').push(text)).toEqual(all);
  });

  it('reads the same in any pieces', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
        const parser = new SSEParser();
        const points = [0, ...cuts.sort((a, b) => a - b), text.length];
        const got = points.slice(1).flatMap((to, i) => parser.push(text.slice(points[i], to)));
        expect(got).toEqual(all);
      }),
    );
  });

  it('gives nothing for a half message', () => {
    expect(new SSEParser().push('data: half')).toEqual([]);
    expect(new SSEParser().push('data: half\n')).toEqual([]);
  });
});
