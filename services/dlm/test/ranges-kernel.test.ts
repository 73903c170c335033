// Byte ranges beside the kernel's own: the same random calls of four open file descriptions, step by step the same
// ends. Nothing waits here, since what the kernel wakes first is not said. [fcntl(2): open file description locks]
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Ast,
  bitsOf,
  type Lock,
  lengthOf,
  lockRange,
  newLock,
  newResource,
  request,
  testRange,
  unlock,
} from '../src/index.ts';

const runs = Number(process.env.SSI_RUNS ?? 150);
const step = fc.record({
  owner: fc.nat({ max: 3 }),
  what: fc.constantFrom('set', 'set', 'set', 'test', 'close'),
  type: fc.constantFrom('read' as const, 'write' as const, 'none' as const),
  start: fc.nat({ max: 12 }),
  length: fc.nat({ max: 5 }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

let dir: string;
let kernel: ChildProcessWithoutNullStreams;
let told: (line: string) => void = () => {};
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'ssi-ranges-'));
  const source = fileURLToPath(new URL('kernel/ranges.c', import.meta.url));
  execFileSync('gcc', ['-O1', '-o', join(dir, 'kernel'), source]);
  kernel = spawn(join(dir, 'kernel'), [join(dir, 'file')]);
  createInterface(kernel.stdout).on('line', (line) => told(line));
});
afterAll(() => {
  kernel?.kill();
  rmSync(dir, { recursive: true, force: true });
});

function byKernel(steps: readonly Step[]): Promise<string[]> {
  const lines: string[] = [];
  return new Promise((done) => {
    told = (line) => {
      if (lines.push(line) === steps.length) done(lines);
    };
    const op = { set: 's', test: 't', close: 'c' };
    const asked = steps.map(
      (s) => `${op[s.what as keyof typeof op]} ${s.owner} ${s.type[0]} ${s.start} ${s.length}`,
    );
    kernel.stdin.write(['b 0 n 0 0', ...asked, ''].join('\n'));
  });
}

function byUs(steps: readonly Step[]): string[] {
  const r = newResource('file', { transid: 1, first: 1, last: 9 });
  let lkids = 0;
  const opened = (): Lock => {
    const lock = newLock(++lkids);
    request(r, lock, { mode: 'NL' }, []);
    return lock;
  };
  const owners = [opened(), opened(), opened(), opened()];
  return steps.map(({ owner, what, type, start, length }) => {
    const lock = owners[owner] as Lock;
    if (what === 'close') {
      unlock(r, lock, {}, []);
      owners[owner] = opened();
      return 'ok';
    }
    if (what === 'test') {
      const found = testRange(r, lock, { type, start, length });
      if (!found) return 'free';
      const { segment } = found;
      return `${segment.write ? 'write' : 'read'} ${segment.start} ${lengthOf(segment)}`;
    }
    const asts: Ast[] = [];
    const flags = bitsOf(['NOQUEUE']);
    lockRange(r, lock, { range: { type, start, length }, flags }, asts);
    const [ast] = asts;
    return ast?.type === 'refused' ? ast.errno : 'ok';
  });
}

test('DLM: byte ranges: what the kernel grants, refuses and finds in the way is what we do', async () => {
  const ends: Record<string, number> = {};
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), async (all) => {
      // A test for nothing is EINVAL there, and here refused by the client.
      const steps = all.filter((s) => s.what !== 'test' || s.type !== 'none');
      if (steps.length === 0) return;
      const shown = (lines: readonly string[]): string[] =>
        steps.map((s, i) => `${s.what} ${s.owner} ${s.type} ${s.start}+${s.length}: ${lines[i]}`);
      const ours = byUs(steps);
      expect(shown(ours)).toEqual(shown(await byKernel(steps)));
      for (const end of ours) ends[end] = (ends[end] ?? 0) + 1;
    }),
    { numRuns: runs },
  );
  for (const end of ['ok', 'EAGAIN', 'free']) expect(ends[end]).toBeGreaterThan(20);
});
