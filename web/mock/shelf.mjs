// The list as a person orders it: pages, filters, what is done to many, projects, tags, the trash, the search.

const HOUR = 3_600_000;
const KINDS = { said: ['user', 'assistant', 'thought', 'plan', 'notice'], run: ['tool', 'approval'] };

export function shelfRoutes({ sessions, row, emit, changed, itemsOf, problem, newId, session, cursor, home }) {
  const trash = new Map();
  const projects = [
    { id: 'p1', name: 'Courier', cwd: `${home}/src/courier`, agent: 'claude', version: 1 },
    { id: 'p2', name: 'Infrastructure', cwd: `${home}/src/infra`, agent: '', version: 1 },
  ];
  for (const s of sessions.values()) {
    const project = projects.find((each) => each.cwd === s.cwd);
    if (project) s.project = project.id;
    if (/billing/.test(s.cwd)) s.tags = ['customer'];
  }
  const traits = (s) => ({ pinned: false, archived: false, ...row(s) });

  function trashed(id) {
    const s = sessions.get(id);
    if (!s) return false;
    emit(id, 'session.deleted', {});
    trash.set(id, { ...s, deleted_at: new Date().toISOString() });
    sessions.delete(id);
    return true;
  }
  function restored(id) {
    const s = trash.get(id);
    if (!s) return sessions.has(id);
    trash.delete(id);
    delete s.deleted_at;
    sessions.set(id, s);
    emit(id, 'session.restored', {});
    return true;
  }
  function one(id, { action, tag, project }) {
    if (action === 'delete') return trashed(id);
    if (action === 'restore') return restored(id);
    const s = sessions.get(id);
    if (!s) return false;
    const tags = (s.tags ?? []).filter((each) => each !== tag);
    if (action === 'archive' || action === 'unarchive') s.archived = action === 'archive';
    else if (action === 'pin' || action === 'unpin') s.pinned = action === 'pin';
    else if (action === 'project') s.project = project ?? '';
    else s.tags = action === 'tag' ? [...tags, tag] : tags;
    s.version++;
    changed(id);
    return true;
  }

  function textOf(item) {
    const body = item.body;
    if (item.kind === 'tool') return [body.title, body.raw_input?.command, ...(body.content ?? []).map((each) => each.content?.text)].filter(Boolean).join('\n');
    return body.text ?? body.title ?? '';
  }
  function snippet(text, words) {
    const at = Math.max(0, text.toLowerCase().indexOf(words[0]) - 30);
    const short = (at > 0 ? '…' : '') + text.slice(at, at + 120).replace(/\s+/g, ' ') + (text.length > at + 120 ? '…' : '');
    const pattern = new RegExp(`(${words.map((word) => word.replace(/[^\p{L}\p{N}]/gu, '\\$&')).join('|')})`, 'i');
    return short.split(pattern).filter(Boolean).map((part) => (pattern.test(part) ? { text: part, match: true } : { text: part }));
  }
  function search(q) {
    const words = (q.get('q') ?? '').toLowerCase().replaceAll('"', ' ').split(/\s+/).filter(Boolean);
    if (words.length === 0) return { hits: [], next: null, behind: 0 };
    let hits = [];
    for (const s of sessions.values()) {
      if (q.get('session') && s.id !== q.get('session')) continue;
      if (q.get('project') && s.project !== q.get('project')) continue;
      if (q.get('agent') && s.agent !== q.get('agent')) continue;
      if (q.get('tag') && !s.tags?.includes(q.get('tag'))) continue;
      if (q.get('archived') && Boolean(s.archived) !== (q.get('archived') === 'true')) continue;
      const common = { session: s.id, title: s.title, archived: Boolean(s.archived) };
      const has = (text) => words.every((word) => text.toLowerCase().includes(word));
      if (has(s.title)) hits.push({ ...common, kind: 'title', at: s.created_at, snippet: snippet(s.title, words) });
      for (const item of itemsOf(s.id)) {
        const text = textOf(item);
        if (has(text)) hits.push({ ...common, item: item.id, kind: item.kind, seq: item.seq, at: item.at, snippet: snippet(text, words) });
      }
    }
    const kinds = (q.get('kind') ?? '').split(',').filter(Boolean).flatMap((kind) => KINDS[kind] ?? [kind]);
    if (kinds.length > 0) hits = hits.filter((hit) => kinds.includes(hit.kind));
    hits.sort((a, b) => b.at.localeCompare(a.at));
    const from = Number(q.get('before')) || 0;
    const to = from + (Number(q.get('limit')) || 20);
    return { hits: hits.slice(from, to), next: to < hits.length ? String(to) : null, behind: 0 };
  }

  return [
    ['GET', /^\/api\/v1\/sessions$/, (m, q) => {
      const limit = Number(q.get('limit')) || 100;
      const below = Number(q.get('page')) || Infinity;
      const deleted = q.get('deleted') === 'true';
      const place = (s) => (deleted ? s.last_event : s.activity);
      const all = [...(deleted ? trash : sessions).values()]
        .filter((s) => deleted || Boolean(s.archived) === (q.get('archived') === 'true'))
        .filter((s) => (!q.get('project') || s.project === q.get('project')) && (!q.get('tag') || s.tags?.includes(q.get('tag'))))
        .sort((a, b) => place(b) - place(a));
      const rest = all.filter((s) => place(s) < below && (below === Infinity || !s.pinned));
      const page = rest.slice(0, limit);
      const more = rest.length > limit;
      const oldest = page.length > 0 ? place(page.at(-1)) : 0;
      if (more && below === Infinity) page.push(...rest.slice(limit).filter((s) => s.pinned));
      return [200, { sessions: page.map(traits), next: more ? String(oldest) : null, cursor: cursor() }];
    }],
    ['PATCH', /^\/api\/v1\/sessions\/([^/]+)$/, (m, q, body) => {
      const s = sessions.get(m[1]);
      if (!s) return problem(404, 'session_not_found', 'There is no such session', 'It may have been deleted.');
      Object.assign(s, body);
      s.version++;
      changed(m[1]);
      return [200, traits(s)];
    }],
    ['DELETE', /^\/api\/v1\/sessions\/([^/]+)$/, (m, q) => {
      trashed(m[1]);
      if (q.get('forever')) trash.delete(m[1]);
      return [204];
    }],
    ['POST', /^\/api\/v1\/sessions\/bulk$/, (m, q, body) => [200, {
      results: body.ids.map((id) => (one(id, body) ? { id, ok: true } : { id, ok: false, code: 'not_found', detail: 'The session does not exist, or no longer.' })),
    }]],
    ['POST', /^\/api\/v1\/sessions\/([^/]+)\/fork$/, (m, q, body) => {
      const from = sessions.get(m[1]);
      const id = session(from.agent, '', body.title ?? from.title, 0, { cwd: from.cwd, project: from.project });
      emit(id, 'session.created', traits({ ...sessions.get(id), seq: 1 }));
      for (const item of itemsOf(m[1])) emit(id, 'item.copied', { item: newId('i'), kind: item.kind, at: item.at, body: item.body });
      changed(id);
      return [201, traits(sessions.get(id))];
    }],
    ['GET', /^\/api\/v1\/search$/, (m, q) => [200, search(q)]],
    ['GET', /^\/api\/v1\/tags$/, () => {
      const n = new Map();
      for (const s of sessions.values()) for (const tag of s.tags ?? []) n.set(tag, (n.get(tag) ?? 0) + 1);
      return [200, { tags: [...n].map(([tag, count]) => ({ tag, sessions: count })).sort((a, b) => b.sessions - a.sessions) }];
    }],
    ['GET', /^\/api\/v1\/projects$/, () => [200, { projects: [...projects].sort((a, b) => a.name.localeCompare(b.name)) }]],
    ['POST', /^\/api\/v1\/projects$/, (m, q, body) => {
      if (projects.some((each) => each.cwd === body.cwd)) return problem(409, 'project_exists', 'There is such a project', 'Another project has this folder. Change that one.');
      const project = { id: newId('p'), agent: '', version: 1, ...body, name: body.name || body.cwd.split('/').pop() };
      projects.push(project);
      return [201, project];
    }],
    ['PATCH', /^\/api\/v1\/projects\/([^/]+)$/, (m, q, body) => {
      const project = projects.find((each) => each.id === m[1]);
      Object.assign(project, body, { version: project.version + 1 });
      return [200, project];
    }],
    ['DELETE', /^\/api\/v1\/projects\/([^/]+)$/, (m) => {
      projects.splice(projects.findIndex((each) => each.id === m[1]), 1);
      for (const s of sessions.values()) if (s.project === m[1]) one(s.id, { action: 'project', project: '' });
      return [204];
    }],
  ];
}

/** So many more sessions, each a few hours before the one before it. */
export function many(n, { session, emit, sessions, row }) {
  const folders = ['src/courier', 'src/infra', 'src/billing', 'src/app-ios', 'home'];
  const agents = ['claude', 'hermes', 'opencode', 'tour'];
  for (let i = n; i >= 1; i--) {
    const ago = 30 * HOUR + i * 2 * HOUR;
    const id = session(agents[i % 4], folders[i % 5], `Session ${String(i).padStart(5, '0')}`, ago);
    emit(id, 'session.created', row({ ...sessions.get(id), seq: 1 }), '', Date.now() - ago);
  }
}
