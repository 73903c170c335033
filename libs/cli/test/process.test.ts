import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasNatsServer } from '../../ports/test/nats-server.ts';
import { type SmallCluster, startSmallCluster } from './small-cluster.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

interface Started {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<number | null>;
}

function ssi(args: readonly string[], env: NodeJS.ProcessEnv, input?: string): Started {
  const child = spawn(process.execPath, [main, ...args], { env });
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    err += chunk;
  });
  if (input !== undefined) child.stdin?.end(input);
  const ended = new Promise<number | null>((done) => child.once('close', done));
  return { child, out: () => out, err: () => err, ended };
}

describe.runIf(hasNatsServer)('ssi as a process, on a real bus', () => {
  let cluster: SmallCluster;
  beforeAll(async () => {
    cluster = await startSmallCluster();
  });
  afterAll(() => cluster?.stop());

  test('a filter in a pipe: every byte in, every byte out, the status of the program', async () => {
    const input = Array.from({ length: 40_000 }, (_, i) => `line ${i}\n`).join('');
    const run = ssi(['run', '--', 'sh', '-c', 'cat; echo done >&2; exit 7'], cluster.env, input);
    expect(await run.ended).toBe(7);
    expect(run.out()).toBe(input);
    expect(run.err()).toBe('done\n');
  });

  test('SIGINT reaches the program, and its end is ours', async () => {
    const script = 'trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.05; done';
    const run = ssi(['run', '--no-input', '--', 'sh', '-c', script], cluster.env);
    await expect.poll(run.out, { timeout: 10_000 }).toContain('ready');
    run.child.kill('SIGINT');
    expect(await run.ended).toBe(9);
    expect(run.out()).toBe('ready\ncaught\n');
  });

  test('detached, its output is there to be read, and its status to be waited for', async () => {
    const started = ssi(['run', '-d', '--json', '--', 'sh', '-c', 'echo hello'], cluster.env);
    expect(await started.ended).toBe(0);
    const { pid } = JSON.parse(started.out());
    const logs = ssi(['logs', String(pid), '--follow'], cluster.env);
    expect(await logs.ended).toBe(0);
    expect(logs.out()).toBe('hello\n');
    const waited = ssi(['wait', String(pid), '--json'], cluster.env);
    expect(await waited.ended).toBe(0);
    expect(JSON.parse(waited.out())).toEqual({ pid, code: 0, signal: null });
  });

  test('no such program: 127 and one line; a reader that goes away: no noise', async () => {
    const run = ssi(['run', 'nonesuch'], cluster.env, '');
    expect(await run.ended).toBe(127);
    expect(run.err()).toMatch(/^ssi: run: nonesuch: ENOENT [^\n]*\n$/);
    const many = ssi(['run', '--no-input', '--', 'sh', '-c', 'yes'], cluster.env);
    many.child.stdout?.once('data', () => many.child.stdout?.destroy());
    expect(await many.ended).toBe(141);
    expect(many.err()).toBe('');
    // It got what it would have got from a pipe of its own: nothing runs on unread.
    await expect.poll(() => cluster.living(), { timeout: 10_000 }).toEqual([]);
  });

  test.runIf(existsSync('/usr/bin/script'))(
    'on a terminal: raw while attached, its size passed on, Ctrl-] detaches, then as it was',
    async () => {
      const run = `'${process.execPath}' '${main}' run -t -- sh -c 'echo up; cat'`;
      const line = `stty rows 33 cols 99; ${run}; echo code=$?; stty -a`;
      const child = spawn('script', ['-qec', line, '/dev/null'], { env: cluster.env });
      let out = '';
      child.stdout.on('data', (chunk) => {
        out += chunk;
      });
      const ended = new Promise((done) => child.once('close', done));
      await expect.poll(() => out, { timeout: 10_000 }).toContain('up');
      await expect.poll(() => cluster.resized, { timeout: 10_000 }).toContain('33x99');
      child.stdin.write('typed\u0003');
      // Ctrl-C is a byte like any other to a raw terminal: cat gives it back.
      await expect.poll(() => out, { timeout: 10_000 }).toContain('typed\u0003');
      child.stdin.write('\u001d');
      await ended;
      expect(out).toMatch(/detached; \d+ runs on/);
      expect(out).toContain('code=0');
      expect(out).toMatch(/ icanon .* echo /s);
    },
  );

  test('nodes', async () => {
    const nodes = ssi(['nodes', '--json'], cluster.env);
    expect(await nodes.ended).toBe(0);
    expect(JSON.parse(nodes.out())).toMatchObject([{ num: 1, state: 'UP' }]);
  });
});

test('ssi as a process: help needs nothing but the commands', async () => {
  const help = ssi(['--help'], { PATH: process.env.PATH });
  expect(await help.ended).toBe(0);
  expect(help.out()).toContain('migrate');
});

test('ssi as a process: a bug is one line and 70, a stack trace only where asked for', async () => {
  // Something breaks once the command is up, in code that nobody guards.
  const broken = `const look = () => process.listenerCount('uncaughtException')
    ? setImmediate(() => { throw new TypeError('odd'); }) : setImmediate(look); look();`;
  const start = async (env: NodeJS.ProcessEnv) => {
    const args = ['--import', `data:text/javascript,${encodeURIComponent(broken)}`, main, 'doctor'];
    const child = spawn(process.execPath, args, { env: { PATH: process.env.PATH, ...env } });
    let err = '';
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    const code = await new Promise((done) => child.once('close', done));
    return { code, err };
  };
  expect(await start({})).toEqual({
    code: 70,
    err: 'ssi: this is a bug of ssi: odd; SSI_DEBUG=1 shows where\n',
  });
  expect((await start({ SSI_DEBUG: '1' })).err).toMatch(/\n\s+at /);
});
