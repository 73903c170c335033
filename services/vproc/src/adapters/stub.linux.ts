// The Stub port by ssi-stub (infra/native/stub.c): the stopped copy of a moved child becomes a stand-in, so
// that its parent's own wait(2) gets what the process did elsewhere.
import { constants } from 'node:os';
import { type ExitStatus, fail, ok } from '@ssi/contracts';
import type { ProcessRef, Stub } from '../ports.ts';
import { readStat } from './procfs.linux.ts';
import { runProgram } from './spawn.linux.ts';

const timeoutMs = 5_000;
const SIGKILL = 9;

export function linuxStub(options: {
  /** Path of ssi-stub. */
  readonly stubPath: string;
  /** Signals that somebody sends to a stub are appended here: `PID SIGNAL SENDER`. */
  readonly signalsPath: string;
}): Stub {
  const isThere = (ref: ProcessRef): boolean => readStat(ref.pid)?.startTicks === ref.startTicks;
  return {
    replace: async (ref) => {
      if (!isThere(ref)) return fail('ESRCH', `no process ${ref.pid}`);
      const args = ['--replace', String(ref.pid), options.signalsPath];
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
  };
}

function endOf(status: ExitStatus): [string, string] {
  if (status.signal === null) return ['code', String(status.code ?? 0)];
  const named = (constants.signals as Readonly<Record<string, number>>)[status.signal];
  const realTime = /^SIGRTMIN\+(\d+)$/.exec(status.signal)?.[1];
  return ['signal', String(named ?? (realTime ? 34 + Number(realTime) : SIGKILL))];
}
