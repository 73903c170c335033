// An exec on another node, run through the machines of a move: the old program is halted where a tree
// would be dumped, the new one started, stopped, where it would be restored, under the same number and on
// the same standard streams. So the rules of a move hold: never two that run, and an abort leaves the old one.
// [OpenSSI rexec(3ssi); execve(2)]
import { fail, type MoveProgram, type MoveReason, ok, type Reply } from '@ssi/contracts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { CopyRef, TargetRecord } from './migrate.ts';
import type { Survey } from './move-negotiate.ts';
import { subtree } from './move-set.ts';
import type { Dump, Halted, RestoreResult, VprocPorts } from './ports.ts';

/** What the caller of rexec gives; the rest is inherited. */
export type NewProgram = Pick<MoveProgram, 'argv' | 'env'>;

/** What stands against replacing this process from another node. Its memory and files end with it. */
export async function surveyExec(
  node: LocalNode,
  local: LocalProcesses,
  pid: number,
): Promise<Reply<Survey, 'ESRCH'>> {
  await local.refresh();
  const all = [...local.table.values()];
  const [root, ...descendants] = subtree(all, pid);
  if (!root) return fail('ESRCH', `no process ${pid} here`);
  const reasons: MoveReason[] = [];
  const add = (code: MoveReason['code'], detail: string): void => {
    reasons.push({ code, pid, detail });
  };
  if (root.kind === 'actor') add('EKIND', 'an actor has no program to replace');
  if (root.ppid > 1) add('EPARENT', `its parent ${root.ppid} would stay`);
  if (descendants[0]) add('EPARENT', `its child ${descendants[0].pid} would stay`);
  const mates = all.filter((e) => e.sid === root.sid && e.pid !== pid);
  if (root.sid !== pid || mates.length > 0)
    add('ESESSION', `shares session ${root.sid} with processes that would stay`);
  if (root.owner !== undefined && root.owner !== pid)
    add('EEXTERNALFD', `its standard streams are those of ${root.owner}`);
  if (root.run?.pin) add('EPINNED', 'pinned here when it was started');
  if (node.frozen) add('EFROZEN', 'this node has no lease');
  return ok({ tasks: [root], reasons, files: [], bytesEstimate: 0 });
}

/** Where a tree is dumped: the old program stands still, and there are no images. */
export function haltInstead(
  ports: VprocPorts,
  copy: CopyRef,
): Dump & { halted: Promise<Halted | undefined> } {
  const work = ports.halter.halt(copy);
  return {
    chunks: (async function* () {})(),
    halted: work.then((reply) => (reply.ok ? reply.value : undefined)),
    done: work.then((reply) =>
      reply.ok
        ? ok({
            freezeAtMs: reply.value.atMs,
            frozenMs: 0,
            bytes: 0,
            tasks: [copy],
            stoppedBefore: reply.value.stoppedBefore ? [copy.pid] : [],
          })
        : reply,
    ),
  };
}

const nowhere = { in: '/dev/null', out: '/dev/null', err: '/dev/null' } as const;

/** Where a tree is restored: the new program stands at its first instruction. */
export async function startInstead(
  ports: VprocPorts,
  record: TargetRecord,
  program: MoveProgram,
): Promise<Reply<RestoreResult, 'ECANCELED' | 'ENOENT' | 'EACCES' | 'ENOEXEC' | 'EPERM'>> {
  await ports.criu.discard(record.moveId);
  const { root, owner } = record;
  const streams = (owner === undefined ? undefined : ports.streams.paths(owner)) ?? nowhere;
  const started = await ports.spawner.run({ ...program, pid: root, streams, stopped: true });
  if (started.ok) return ok({ tasks: [started.value], restoreMs: 0 });
  const { errno, detail } = started;
  if (errno === 'ENOENT' || errno === 'EACCES' || errno === 'ENOEXEC' || errno === 'EPERM')
    return fail(errno, detail);
  return fail('ECANCELED', `${errno} ${detail}`);
}
