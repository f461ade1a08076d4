// A session of any length, and any number of sessions, made in a moment: they are imported.

/** A session as people have them, in lines to import: a question, a thought, two commands, an answer with a list and code. */
function lines(count, cwd) {
  const at = (n) => new Date(Date.parse('2026-11-01T08:00:00Z') + n * 2000).toISOString();
  const out = [{ session: { holdfast: 1, id: 'sbench', title: 'A very long session', title_set: true, agent: 'script', cwd, created_at: at(0) } }];
  const command = (n, name, output) => ({ tool_call_id: `c${n}`, title: name, kind: 'execute', status: 'completed', raw_input: { command: name }, content: [{ type: 'content', content: { type: 'text', text: output } }], ended_at: at(n + 1) });
  const bodies = [
    (n) => ['user', { text: `Question ${n}: why does the retry of step ${n} come back in the same second for every client, and what would it take to spread them?` }],
    (n) => ['thought', { text: `The waits double, and nothing spreads them. ${'I look at how they are made. '.repeat(n % 7)}`, ended_at: at(n + 1) }],
    (n) => ['tool', command(n, `grep -rn Backoff internal/step${n}`, 'internal/replay/backoff.go:12: d := base << n\n'.repeat(1 + (n % 12)))],
    (n) => ['tool', command(n, `go test -race ./internal/step${n}/...`, 'ok  \texample.org/replay\t1.204s\n'.repeat(1 + (n % 5)))],
    (n) => ['assistant', { text: `Answer ${n}. Every client computes **the same wait**.\n\n- half of it is random now;\n- the limit of \`30 s\` holds as before.\n\n${'What changes for a caller is little: the wait lies between half and the whole of the old one. '.repeat(1 + (n % 6))}\n\n\`\`\`go\nfunc Backoff(n int) time.Duration {\n\treturn d/2 + rand.N(d/2)\n}\n\`\`\`` }],
  ];
  for (let n = 0; n < count; n++) {
    const run = `r${Math.floor(n / bodies.length)}`;
    const [kind, body] = bodies[n % bodies.length](n);
    // It never started: an agent that comes later is not told of it, and does not say all of it again.
    if (kind === 'user') out.push({ run: { id: run, item: `i${n}`, reason: 'end_turn', queued_at: at(n), ended_at: at(n + 4) } });
    out.push({ item: { id: `i${n}`, run, kind, at: at(n), body } });
  }
  out.push({ end: { items: count } });
  return out.map((line) => JSON.stringify(line)).join('\n') + '\n';
}

/** Imports a session of so many items and returns its id. */
export async function imported(world, count) {
  return (await taken(world, lines(count, world.work)))[0].id;
}

/** Imports so many sessions in which nothing was said, each by its number. */
export async function many(world, count, agent = 'script') {
  const each = (n) => [{ session: { holdfast: 1, id: `s${n}`, title: `Number ${n}.`, title_set: true, agent, cwd: world.work, created_at: '2026-11-01T08:00:00Z' } }, { end: { items: 0 } }];
  await taken(world, Array.from({ length: count }, (_, n) => each(n)).flat().map((line) => JSON.stringify(line)).join('\n'));
}

/** Imports these lines and returns the sessions that they are. */
async function taken({ base, token }, body) {
  const answer = await fetch(`${base}/api/v1/import`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/x-ndjson' },
    body,
  });
  if (!answer.ok) throw new Error(`import: ${answer.status} ${await answer.text()}`);
  return (await answer.json()).sessions;
}
