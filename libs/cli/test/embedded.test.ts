// `ssi up --embedded`, as an ordinary user: all nodes in one process, used by commands of other shells and
// by a program that hosts actors, as any other cluster is.
import { execFile } from 'node:child_process';
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, defineActor, readClusterFile } from '@ssi/client';
import { afterAll, afterEach, expect, test } from 'vitest';
import { assign, setup } from 'xstate';
import { isAlive } from '../src/up/host.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
const dir = mkdtempSync(join(tmpdir(), 'ssi-embedded-'));
if (isRoot) chownSync(dir, nobody, nobody);
const env = { PATH: process.env.PATH, SSI_RUN_DIR: dir, SSI_CLUSTER: 'test' };

function ssi(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const user = isRoot ? { uid: nobody, gid: nobody } : {};
  return new Promise((done) => {
    const options = { ...user, env, cwd: '/', timeout: 30_000 };
    execFile(process.execPath, [main, ...args], options, (error, stdout, stderr) =>
      done({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    );
  });
}

const machine = setup({
  types: { context: {} as { count: number }, events: {} as { type: 'next' } },
  actions: { reply: (_, _count: number) => {} },
}).createMachine({
  context: { count: 0 },
  on: {
    next: {
      actions: [
        { type: 'reply', params: ({ context }) => context.count },
        assign({ count: ({ context }) => context.count + 1 }),
      ],
    },
  },
});
const counter = defineActor({ type: 'counter', machine });

afterEach(() => ssi('down'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('an embedded cluster serves other processes of its user: commands, hosts of actors, their moves', {
  timeout: 90_000,
}, async () => {
  const up = await ssi('up', '--embedded', '--nodes', '3', '--detach', '--json');
  expect(up, up.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(up.stdout)).toMatchObject({ mode: 'embedded', nodes: [{ num: 1 }, {}, {}] });
  expect(await ssi('up', '--embedded', '--detach')).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/EEXIST/),
  });
  const run = await ssi('run', '--node', '1', '--', 'date');
  expect(run).toMatchObject({
    code: 125,
    stderr: expect.stringMatching(/EOPNOTSUPP node 1 runs actors only; .*ssi doctor/),
  });

  const connected = await connect({ env });
  if (!connected.ok) throw new Error(connected.detail);
  const client = connected.value;
  try {
    for (const node of [1, 2, 3])
      expect(await client.host({ node, actors: [counter] })).toMatchObject({ ok: true });
    const states = async () => JSON.parse((await ssi('nodes', '--json')).stdout);
    await expect
      .poll(states, { timeout: 10_000 })
      .toMatchObject([1, 2, 3].map((num) => ({ num, state: 'UP' })));
    const started = await expectSoon(() => client.spawn(counter, { node: 1 }));
    const { pid } = started;
    expect(await client.ask(started, { type: 'next' })).toEqual({ ok: true, value: 0 });
    // All nodes share one process: where that is starved for half a second a lease is over, for a moment.
    const migrate = () => ssi('migrate', String(pid), '2', '--json');
    let moved = await migrate();
    await expect
      .poll(
        async () => {
          if (moved.stderr.includes('ENETDOWN')) moved = await migrate();
          return moved.stderr;
        },
        { timeout: 20_000 },
      )
      .not.toContain('ENETDOWN');
    expect(moved, moved.stderr).toMatchObject({ code: 0 });
    expect(await client.ask(started, { type: 'next' })).toEqual({ ok: true, value: 1 });
    const ps = JSON.parse((await ssi('ps', '--json')).stdout);
    expect(ps).toMatchObject([{ pid, node: 2, origin: 1, kind: 'actor' }]);
    const { traceId } = JSON.parse(moved.stdout);
    const spansOf = async () =>
      JSON.parse((await ssi('trace', traceId, '--json')).stdout || '[]').map(
        (s: { name: string }) => s.name,
      );
    await expect.poll(spansOf, { timeout: 10_000 }).toContain('migrate');

    expect(await ssi('node', 'kill', '1')).toMatchObject({ code: 0 });
    const wants = [{ state: 'DOWN' }, { state: 'UP' }, { state: 'UP' }];
    await expect.poll(states, { timeout: 20_000 }).toMatchObject(wants);
    expect(await client.ask(started, { type: 'next' })).toEqual({ ok: true, value: 2 });
    expect(await ssi('node', 'start', '9')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/EINVAL no node 9/),
    });
    const waited = ssi('wait', String(pid), '--json');
    expect(await ssi('kill', '-TERM', String(pid))).toMatchObject({ code: 0 });
    expect(JSON.parse((await waited).stdout)).toMatchObject({ pid, signal: 'SIGTERM' });
  } finally {
    await client.close();
  }

  const file = readClusterFile('test', env);
  if (!file.ok) throw new Error(file.detail);
  const [own] = file.value.processes;
  if (!own) throw new Error('no process in its file');
  expect(isAlive(own)).toBe(true);
  expect(await ssi('down')).toMatchObject({ code: 0 });
  expect(isAlive(own)).toBe(false);
  expect(existsSync(join(dir, 'clusters'))).toBe(false);
  expect(await ssi('nodes')).toMatchObject({ code: 1, stderr: expect.stringMatching(/ssi up/) });
  expect(await ssi('down')).toMatchObject({ code: 1, stderr: expect.stringMatching(/ENOENT/) });
});

/** A host announces itself once a second: until vproc has heard of it an actor is refused. */
async function expectSoon<T>(
  work: () => Promise<{ ok: true; value: T } | { ok: false; errno: string; detail: string }>,
): Promise<T> {
  let reply = await work();
  await expect
    .poll(
      async () => {
        if (!reply.ok) reply = await work();
        return reply.ok ? 'ok' : reply.detail;
      },
      { timeout: 10_000 },
    )
    .toBe('ok');
  if (!reply.ok) throw new Error(reply.detail);
  return reply.value;
}
