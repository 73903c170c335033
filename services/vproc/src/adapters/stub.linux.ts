// The Stub port by ssi-stub (infra/native/stub.c): the stopped copy of a moved child becomes a stand-in, so
// that its parent's own wait(2) gets what the process did elsewhere.
import { chownSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { type ExitStatus, fail, ok } from '@ssi/contracts';
import type { ProcessRef, Stub } from '../ports.ts';
import { readStat } from './procfs.linux.ts';
import { runProgram } from './run-program.ts';

const timeoutMs = 5_000;
const SIGKILL = 9;

export function linuxStub(options: {
  /** Path of ssi-stub. */
  readonly stubPath: string;
  /** A file for each stub, to which it appends the signals that it gets: `PID SIGNAL SENDER`. */
  readonly signalsDir: string;
}): Stub {
  const fileOf = (pid: number): string => `${options.signalsDir}/${pid}`;
  const isThere = (ref: ProcessRef): boolean => readStat(ref.pid)?.startTicks === ref.startTicks;
  return {
    replace: async (ref) => {
      if (!isThere(ref)) return fail('ESRCH', `no process ${ref.pid}`);
      if (readStat(ref.pid)?.comm === 'ssi-stub') return ok(ref);
      try {
        // Its own user's: who may write it could have sent the signals as well.
        const { uid, gid } = statSync(`/proc/${ref.pid}`);
        mkdirSync(options.signalsDir, { recursive: true, mode: 0o755 });
        writeFileSync(fileOf(ref.pid), '', { mode: 0o600 });
        chownSync(fileOf(ref.pid), uid, gid);
      } catch (error) {
        return fail('EIO', (error as Error).message);
      }
      const args = ['--replace', String(ref.pid), fileOf(ref.pid)];
      const result = await runProgram(options.stubPath, args, { timeoutMs });
      if (result.code === 0) return ok(ref);
      return fail('EIO', result.out.trim() || result.err.trim());
    },
    end: async (ref, status) => {
      if (!isThere(ref)) return fail('ESRCH', `no process ${ref.pid}`);
      const how = endOf(status);
      const result = await runProgram(options.stubPath, ['--end', String(ref.pid), ...how], {
        timeoutMs,
      });
      return result.code === 0 ? ok() : fail('EIO', result.out.trim() || result.err.trim());
    },
    signals: async (pid, from) => {
      try {
        const lines = readFileSync(fileOf(pid), 'latin1').split('\n').slice(0, -1);
        return lines.slice(from).map((line) => Number(line.split(' ')[1]));
      } catch {
        return [];
      }
    },
    forget: async (pid) => rmSync(fileOf(pid), { force: true }),
  };
}

function endOf(status: ExitStatus): [string, string] {
  if (status.signal === null) return ['code', String(status.code ?? 0)];
  const named = (constants.signals as Readonly<Record<string, number>>)[status.signal];
  const realTime = /^SIGRTMIN\+(\d+)$/.exec(status.signal)?.[1];
  return ['signal', String(named ?? (realTime ? 34 + Number(realTime) : SIGKILL))];
}
