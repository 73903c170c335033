// test/programs/memory.c in a cluster: a program with much memory, which says the sum of it when asked.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import type { Ssi } from '@ssi/client';
import { program, value } from './busy.ts';
import { waitUntil } from './wait-until.ts';

/** Lines that a program has written to a file so far. */
export function linesOf(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean);
  } catch {
    return [];
  }
}

export interface MemoryProgram {
  readonly pid: number;
  /** `NAME=value` in its environment. */
  readonly mark: string;
  /** The lines `sum HEX written N found N` so far. */
  sums(): string[];
  ask(): Promise<void>;
  /** Asks until a new sum comes; what was written and what was found are then equal, or it throws. */
  check(deadlineMs?: number): Promise<void>;
  end(): Promise<void>;
}

export interface MemoryPrograms {
  /** A folder that lasts as long as these. */
  readonly dir: string;
  /** On node 1, filled with `mb` MB; writes to so many pages a second. */
  start(mb: number, writes?: number): Promise<MemoryProgram>;
  close(): void;
}

const name = 'SSI_TEST_MARK';

export function memoryPrograms(ssi: Ssi): MemoryPrograms {
  const dir = mkdtempSync(`${tmpdir()}/ssi-memory-`);
  const binary = `${dir}/memory`;
  execFileSync('gcc', ['-O2', '-pthread', '-o', binary, program('memory.c')]);
  let count = 0;
  return {
    dir,
    start: async (mb, writes = 0) => {
      const file = `${dir}/said-${count++}`;
      const { pid } = value(
        await ssi.run({
          argv: [binary, String(mb), file, String(writes)],
          env: { PATH: '/usr/bin:/bin', [name]: file },
          ...{ cwd: '/', node: 1, noInput: true },
        }),
      );
      const sums = (): string[] => linesOf(file).filter((line) => line.startsWith('sum'));
      await waitUntil('it is filled', () => sums().length > 0, 60_000);
      const ask = async (): Promise<void> =>
        void value(await ssi.kill(pid, constants.signals.SIGUSR1));
      return {
        pid,
        mark: `${name}=${file}`,
        sums,
        ask,
        check: async (deadlineMs = 30_000) => {
          const before = sums().length;
          await waitUntil(
            'it answers',
            async () => (await ssi.kill(pid, constants.signals.SIGUSR1)).ok,
            deadlineMs,
          );
          await waitUntil('its sum', () => sums().length > before, deadlineMs);
          const [, , , written, , found] = sums().at(-1)?.split(' ') ?? [];
          if (found !== written) throw new Error(`${written} writes, ${found} found`);
          if (writes > 0 && Number(written) === 0) throw new Error('it has not written');
        },
        end: async () => {
          value(await ssi.kill(pid, constants.signals.SIGKILL));
          value(await ssi.wait(pid));
        },
      };
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}
