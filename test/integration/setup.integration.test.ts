// Set-up and launcher: done once, then silent; the launcher becomes the program; criu is judged by a move.
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'ssi-setup-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const isRoot = process.platform === 'linux' && process.getuid?.() === 0;

function file(name: string, text: string): string {
  const path = join(scratch, name);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

interface Ended {
  readonly pid: number | undefined;
  readonly out: string;
  readonly err: string;
  readonly code: number | null;
  readonly signal: string | null;
}
/** Runs the launcher; calls `onOut` with what the program has written so far. */
function launch(
  args: readonly string[],
  onOut?: (out: string, kill: (s: 'SIGTERM') => void) => void,
) {
  return new Promise<Ended>((done) => {
    const child = spawn(process.execPath, [join(root, 'infra/launch.mjs'), ...args], { cwd: '/' });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
      onOut?.(out, (signal) => child.kill(signal));
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.on('close', (code, signal) => done({ pid: child.pid, out, err, code, signal }));
  });
}

describe('launcher', () => {
  const program = file(
    'program.ts',
    `const text: string = JSON.stringify({ pid: process.pid, node: process.version, args: process.argv.slice(2) });
     process.on('SIGTERM', () => { console.log('TERM'); process.exitCode = 7; clearInterval(timer); });
     const timer = setInterval(() => {}, 1000);
     console.log(text);
     if (process.argv[2] === 'abort') process.kill(process.pid, 'SIGKILL');
     if (process.argv[2] === 'status') process.exit(5);`,
  );

  test('launcher: becomes the program: same pid, Node 24, arguments as given', async () => {
    const ended = await launch(['--no-setup', program, 'status', 'a b', '']);
    expect(ended.err).toBe('');
    const told = JSON.parse(ended.out);
    expect(told).toEqual({
      pid: ended.pid,
      node: expect.stringMatching(/^v24\./),
      args: ['status', 'a b', ''],
    });
    expect(ended.code).toBe(5);
  });

  test('launcher: a signal reaches the program once, and its end is the launcher’s', async () => {
    let sent = false;
    const term = await launch(['--no-setup', program, 'wait'], (_out, kill) => {
      if (!sent) kill('SIGTERM');
      sent = true;
    });
    expect(term.out.match(/TERM/g)).toHaveLength(1);
    expect(term.code).toBe(7);
    const aborted = await launch(['--no-setup', program, 'abort']);
    expect(aborted.signal).toBe('SIGKILL');
  });

  test('launcher: without a program: says how to use it, exit 2', async () => {
    const ended = await launch([]);
    expect(ended.code).toBe(2);
    expect(ended.err).toContain('usage:');
  });
});

test('launcher: a program runs from its bundle, and from its source where one that is in it has changed', async () => {
  const project = join(scratch, 'project');
  const bundles = join(project, '.tools/programs');
  for (const dir of [join(project, 'infra'), join(project, 'libs/x/src'), bundles])
    mkdirSync(dir, { recursive: true });
  cpSync(join(root, 'infra/programs.mjs'), join(project, 'infra/programs.mjs'));
  const source = join(project, 'libs/x/src/main.ts');
  const part = join(project, 'libs/x/src/part.ts');
  for (const path of [source, part, join(bundles, 'x.js')]) writeFileSync(path, '');
  const { program, writeInputs } = await import(join(project, 'infra/programs.mjs'));
  expect(program('libs/x/src/main.ts'), 'nothing tells what it was made of').toBe(source);
  writeInputs(['libs/x/src/main.ts', 'libs/x/src/part.ts']);
  expect(program('libs/x/src/main.ts')).toBe(join(bundles, 'x.js'));
  expect(program('libs/y/src/main.ts'), 'no bundle').toBe(join(project, 'libs/y/src/main.ts'));
  expect(program('/bin/true')).toBe('/bin/true');
  writeFileSync(part, 'changed');
  expect(program('libs/x/src/main.ts')).toBe(source);
  rmSync(part);
  expect(program('libs/x/src/main.ts')).toBe(source);
});

describe.skipIf(!isRoot)('set-up (needs root on Linux)', () => {
  const setup = () => spawnSync(join(root, 'infra/setup'), { encoding: 'utf8' });

  test('set-up: a second run and a launch after it have nothing to do', async () => {
    const first = setup();
    expect(first.status, first.stderr).toBe(0);
    const second = setup();
    expect([second.status, second.stderr]).toEqual([0, '']);
    const program = file('nothing.ts', 'console.log(process.env.SSI_EMBEDDED ?? "native");');
    await launch([program]); // a source may have changed since it was bundled
    const ended = await launch([program]);
    expect([ended.out, ended.err]).toEqual(['native\n', '']);
  });

  test('set-up: criu moves another user’s program that holds a socket', () => {
    const judge = (criu: string) =>
      spawnSync(join(root, 'infra/criu-works'), [criu], { encoding: 'utf8' });
    const good = judge(join(root, '.tools/bin/criu'));
    expect([good.status, good.stderr]).toEqual([0, '']);
    // One that claims success and does nothing, and one that fails.
    const idle = judge(file('idle-criu', '#!/bin/sh\nexit 0\n'));
    expect([idle.status, idle.stderr]).toEqual([1, 'criu-works: dump left the program running\n']);
    const broken = judge(file('broken-criu', '#!/bin/sh\necho cannot >&2\nexit 1\n'));
    expect(broken.status).toBe(1);
    expect(broken.stderr).toContain('dump: cannot');
  });
});
