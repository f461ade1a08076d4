import { describe, expect, it } from 'vitest';
import { refused, shown, stale, wayOf, type Payload } from './rules';

const FILES = ['assets/index-abc.js', 'theme.js', 'icons/icon-192.png'];

describe('the way of a request', () => {
  const of = (path: string, mode = 'navigate', method = 'GET', scope = 'https://box/') => wayOf({ method, mode, url: `https://box/${path}` }, scope, FILES);
  it('is the host first for the page, whatever it shows', () => {
    for (const path of ['', 'new', 's/abc', 'needs-you', 'settings?x=1', 'a/page/of/a/newer/version']) expect(of(path), path).toBe('page');
  });
  it('is never ours for what programs ask', () => {
    for (const path of ['api', 'api/v1/sessions', 'health', 'health?deep=1', 'metrics', 'problems/x', 'control/link']) {
      expect(of(path), path).toBe('none');
      expect(of(path, 'cors'), path).toBe('none');
    }
    expect(of('', 'navigate', 'POST')).toBe('none');
  });
  it('is by name for what carries a hash, and the host first for what does not', () => {
    expect(of('assets/index-abc.js', 'cors')).toBe('hashed');
    expect(of('theme.js', 'no-cors')).toBe('named');
    expect(of('assets/of-another-build.js', 'cors')).toBe('none');
    expect(of('licenses/x.txt')).toBe('none');
  });
  it('ends at the scope and at the origin', () => {
    expect(of('holdfast/s/1', 'navigate', 'GET', 'https://box/holdfast/')).toBe('page');
    expect(of('holdfast/api/v1/me', 'cors', 'GET', 'https://box/holdfast/')).toBe('none');
    expect(of('elsewhere', 'navigate', 'GET', 'https://box/holdfast/')).toBe('none');
    expect(wayOf({ method: 'GET', mode: 'navigate', url: 'https://other/' }, 'https://box/', FILES)).toBe('none');
  });
});

it('keeps the build before this one, and what is not its own', () => {
  expect(stale(['p 1', 'p 2', 'p 3', 'p 4', 'other'], 'p ', 'p 4')).toEqual(['p 1', 'p 2']);
  expect(stale(['p 1'], 'p ', 'p 1')).toEqual([]);
  expect(stale(['p 1', 'p 2'], 'p ', 'p 2')).toEqual([]);
});

describe('what is shown of a push', () => {
  const words = { ended: 'Over.', failed: 'Failed', needs: 'Needs an answer', session: 'A session', answeredElsewhere: 'Elsewhere', answerFailed: 'Did not arrive' };
  const base: Payload = { v: 1, kind: 'ended', title: 'Fix it', tag: 'run-1', path: '/s/1', at: 5 };
  it('says what happened, and to what', () => {
    expect(shown(base, words, 'https://box/')).toMatchObject({ title: 'Fix it', options: { body: 'Over.', tag: 'run-1', requireInteraction: false, data: { path: '/s/1' } } });
    expect(shown({ ...base, kind: 'failed', text: 'out of disk' }, words, '').options.body).toBe('Failed: out of disk');
    expect(shown({ ...base, kind: 'failed' }, words, '').options.body).toBe('Failed');
    expect(shown({ ...base, title: '' }, words, '').title).toBe('A session');
    expect(shown({ ...base, title: '' }, {}, '').title).toBe('Holdfast');
  });
  it('offers the answers of a question, and keeps what each is worth out of sight', () => {
    const actions = [
      { action: 'allow', title: 'Allow once', capability: 'c1' },
      { action: 'deny', title: 'Reject', capability: 'c2' },
    ];
    const { options } = shown({ ...base, kind: 'needs', text: 'Run git push?', tag: 'ask-1', actions }, words, '');
    expect(options).toMatchObject({ body: 'Run git push?', requireInteraction: true, actions: [{ action: 'allow', title: 'Allow once' }, { action: 'deny', title: 'Reject' }] });
    expect(options.data.capabilities).toEqual({ allow: 'c1', deny: 'c2' });
    expect(refused(options.data, 409, words, '').options).toMatchObject({ body: 'Elsewhere', silent: true, data: { capabilities: {}, path: '/s/1' } });
    expect(refused(options.data, 0, words, '').options).toMatchObject({ body: 'Did not arrive', requireInteraction: true });
  });
});
