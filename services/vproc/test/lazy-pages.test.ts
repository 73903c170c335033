// ssi-lazy: what it gives is what was sent ahead, and when it dies nobody reads zeros instead.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, test } from 'vitest';

const at = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const lazyPath = at('.tools/native/ssi-lazy');
const canRun = process.getuid?.() === 0 && existsSync(lazyPath);

interface Started {
  readonly lazy: ChildProcess;
  readonly program: ChildProcess;
  /** The next line that the program says. */
  next(): Promise<string | undefined>;
  end(): void;
}

async function started(): Promise<Started> {
  const dir = mkdtempSync(`${tmpdir()}/ssi-lazy-`);
  const lazy = spawn(lazyPath, [dir], { stdio: ['pipe', 'pipe', 'inherit'] });
  assert(lazy.stdout);
  await once(lazy.stdout, 'data');
  const program = spawn('/usr/bin/python3', [at('test/programs/lazy-memory.py'), dir], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  assert(program.stdout);
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
  return {
    lazy,
    program,
    next: async () => (await lines.next()).value,
    end: () => {
      program.kill('SIGKILL');
      lazy.kill('SIGKILL');
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

describe.skipIf(!canRun)('ssi-ahead', () => {
  test('post-copy: a page that is asked for while the last one is on its way is no broken link', async () => {
    const dir = mkdtempSync(`${tmpdir()}/ssi-ahead-`);
    const peer = [at('test/programs/post-copy-target.py'), at('.tools/native/ssi-ahead'), dir];
    const target = spawn('/usr/bin/python3', peer, { stdio: ['ignore', 'pipe', 'inherit'] });
    assert(target.stdout);
    const [line] = await once(createInterface({ input: target.stdout }), 'line');
    rmSync(dir, { recursive: true });
    assert.equal(line, 'True 0');
  });
});

describe.skipIf(!canRun)('ssi-lazy', () => {
  test('gives each page as it was sent, and ends when all is given', async () => {
    const s = await started();
    try {
      assert.equal(await s.next(), 'page 0 1');
      s.program.stdin?.write('300\n');
      assert.equal(await s.next(), 'page 300 50');
      const ended = once(s.lazy, 'exit');
      s.program.stdin?.write('finish\n');
      assert.deepEqual(await ended, [0, null]);
      s.program.stdin?.write('2047\n');
      assert.equal(await s.next(), 'page 2047 40');
    } finally {
      s.end();
    }
  });

  test('dies with pages missing: who touches one is killed, and never reads a zero', async () => {
    const s = await started();
    try {
      assert.equal(await s.next(), 'page 0 1');
      const pid = s.lazy.pid ?? 0;
      const worker = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim());
      const ended = once(s.program, 'exit');
      process.kill(worker, 'SIGKILL');
      s.program.stdin?.on('error', () => {});
      s.program.stdin?.write('300\n');
      assert.deepEqual(await ended, [null, 'SIGKILL']);
      assert.equal(await s.next(), undefined);
    } finally {
      s.end();
    }
  });
});
