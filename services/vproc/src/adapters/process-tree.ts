// A process and its descendants, by /proc: listed, continued, killed to the end. Every task is checked by
// its start before a signal goes out, for its number may belong to somebody else by now.
import { fail, ok, type Reply } from '@ssi/contracts';
import { sendSignal } from '@ssi/linux';
import type { Clock } from '@ssi/ports';
import type { ProcessRef } from '../ports.ts';
import { readChildren, readStat } from './procfs.linux.ts';

const SIGKILL = 9;
const SIGCONT = 18;
const destroyTimeoutMs = 10_000;
const lookAgainMs = 1;

/** Root first, parents before children; empty where there is no such process. */
export function treeOf(root: number): ProcessRef[] {
  const tasks: ProcessRef[] = [];
  const seen = new Set<number>();
  for (const queue = [root]; queue.length > 0; ) {
    const pid = queue.shift() ?? 0;
    const stat = seen.has(pid) ? undefined : readStat(pid);
    if (!stat) continue;
    seen.add(pid);
    tasks.push({ pid, startTicks: stat.startTicks });
    queue.push(...readChildren(pid).sort((a, b) => a - b));
  }
  return tasks;
}

/** Tasks of the tree that are stopped by a signal now. */
export const stoppedIn = (root: number): number[] =>
  treeOf(root).flatMap(({ pid }) => (readStat(pid)?.state === 'stopped' ? [pid] : []));

/** Children first: an interactive shell that runs before its job reports it as stopped. */
export function resumeTree(tasks: readonly ProcessRef[], stoppedBefore: readonly number[]): void {
  for (const task of [...tasks].reverse())
    if (!stoppedBefore.includes(task.pid) && isThere(task)) sendSignal(task.pid, SIGCONT);
}

/** Kills the tasks and all that descends from them; ok when no number of theirs is in use. */
export async function destroyTree(
  tasks: readonly ProcessRef[],
  clock: Clock,
): Promise<Reply<undefined, 'ETIMEDOUT'>> {
  const untilMs = clock.nowMs() + destroyTimeoutMs;
  const all = new Map(tasks.map((task) => [task.pid, task]));
  for (;;) {
    const left = [...all.values()].filter(isThere);
    // What a task forked before it was hit descends from it as long as it is there.
    for (const { pid } of left)
      for (const task of treeOf(pid)) if (!all.has(task.pid)) all.set(task.pid, task);
    const alive = [...all.values()].filter(isThere);
    for (const { pid } of alive) sendSignal(pid, SIGKILL);
    if (!alive.some((task) => !waitsForOthers(task, all))) return ok();
    if (clock.nowMs() > untilMs)
      return fail('ETIMEDOUT', `not gone: ${alive.map(({ pid }) => pid).join(' ')}`);
    await new Promise<void>((done) => void clock.after(lookAgainMs, done));
  }
}

const isThere = (task: ProcessRef): boolean => readStat(task.pid)?.startTicks === task.startTicks;

/** A zombie whose parent is none of ours is dead: when it is reaped is that parent's affair. */
function waitsForOthers(task: ProcessRef, ours: ReadonlyMap<number, ProcessRef>): boolean {
  const stat = readStat(task.pid);
  return stat?.state === 'zombie' && stat.ppid !== 0 && !ours.has(stat.ppid);
}
