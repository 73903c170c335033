// Services come before programs: a move, a signal or a heartbeat that waits for a busy program's turn
// stands still for tens of ms. Inherited by what a service runs (criu); ssi-spawn gives programs 0 again.
// [setpriority(2), sched(7): autogroups]
import { readdirSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { fail, ok, type Reply } from '@ssi/contracts';
import { errnoOf } from './errno-name.ts';

const foremost = -19;

/**
 * Raises this process and its session to the front of the ordinary schedule. EPERM, EACCES: not allowed. All of
 * its threads: the kernel's nice is a thread's, and one that a busy machine lets wait holds up those that wait
 * for it, in a collection of garbage or for the lock of their memory.
 */
export function goFirst(): Reply<undefined> {
  try {
    setPriority(foremost);
    for (const thread of readdirSync('/proc/self/task')) raise(Number(thread));
  } catch (error) {
    return fail('EPERM', (error as Error).message);
  }
  return sessionFirst('self');
}

function raise(thread: number): void {
  try {
    setPriority(thread, foremost);
  } catch {
    // It ended meanwhile.
  }
}

/** A program that all wait for, started ahead of the others with all its threads; where that is not allowed, as any. [nice(1)] */
export const startedFirst = (file: string, args: readonly string[]): [string, string[]] => [
  'nice',
  ['-n', String(foremost), file, ...args],
];

/** Where the kernel shares the processor among sessions first, nice counts inside a session only. EPERM: not allowed. */
export function sessionFirst(pid: number | 'self'): Reply<undefined> {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(foremost));
  } catch (error) {
    // ENOENT: a kernel without them. EAGAIN: written a moment ago by another service of the session.
    const errno = errnoOf(error);
    if (errno !== 'ENOENT' && errno !== 'EAGAIN') return fail('EPERM', (error as Error).message);
  }
  return ok();
}
