// Emptying a node: which processes to move (the tops of its trees; descendants go along), where to, and
// what could not move and why. Then its key services.
import type { Ssi } from '@ssi/client';
import { type Errno, fail, ok, type ProcessInfo, type Reply } from '@ssi/contracts';

export interface Moved {
  readonly pid: number;
  readonly to: number;
  readonly freezeMs: number;
}
export interface Stayed {
  readonly pid: number;
  readonly command: string;
  readonly errno: Errno;
  readonly detail: string;
}

/** A key service that was active there: where it is now, or why it stayed. */
export interface HandedOver {
  readonly name: string;
  readonly to?: number;
  readonly errno?: Errno;
  readonly detail?: string;
}

export interface DrainOptions {
  readonly to?: number;
  readonly signal?: AbortSignal;
  readonly onMoved?: (moved: Moved) => void;
}

/** A program may start others while we move: looked at again until nothing new is left. */
const passesMax = 5;
/** Worth another try in the next pass: it moved by itself, or something was in the way just now. */
const passing = new Set<Errno>(['EAGAIN', 'EBUSY', 'EREMCHG']);

/** Processes of the node whose parent is not on it as well. */
export function tops(processes: readonly ProcessInfo[], node: number): ProcessInfo[] {
  const here = processes.filter(
    (p) => p.node === node && p.state !== 'exited' && p.state !== 'zombie',
  );
  const pids = new Set(here.map((p) => p.pid));
  return here.filter((p) => !pids.has(p.ppid));
}

export async function drainNode(
  ssi: Ssi,
  node: number,
  options: DrainOptions = {},
): Promise<Reply<{ moved: Moved[]; stayed: Stayed[]; keyServices: HandedOver[] }>> {
  const view = await ssi.view();
  if (!view.ok) return view;
  const others = view.value.members.filter(
    (m) => m.state === 'UP' && m.num !== node && (options.to === undefined || m.num === options.to),
  );
  if (!view.value.members.some((m) => m.num === node))
    return fail('EINVAL', `no node ${node} in this cluster; see: ssi nodes`);
  if (others.length === 0) return fail('EHOSTDOWN', 'no other node is UP to take its processes');
  const moved: Moved[] = [];
  const stayed = new Map<number, Stayed>();
  for (let pass = 0; pass < passesMax; pass++) {
    const list = await ssi.ps();
    if (!list.ok) return list;
    const silent = list.value.silent.find((s) => s.node === node);
    if (silent) return fail('EAGAIN', `node ${node} does not tell its processes (${silent.errno})`);
    const again = tops(list.value.processes, node).filter((p) => {
      const before = stayed.get(p.pid);
      return !before || passing.has(before.errno);
    });
    if (again.length === 0) break;
    let processes = list.value.processes;
    for (const p of again) {
      if (options.signal?.aborted) return fail('ECANCELED', `interrupted; ${moved.length} moved`);
      const result = await moveToAny(ssi, p, targets(processes, others, p));
      if (result.ok) {
        moved.push(result.value);
        processes = placed(processes, p.pid, result.value.to);
        stayed.delete(p.pid);
        options.onMoved?.(result.value);
      } else if (result.errno === 'ESRCH')
        stayed.delete(p.pid); // it ended by itself
      else
        stayed.set(p.pid, {
          pid: p.pid,
          command: p.command,
          errno: result.errno,
          detail: result.detail,
        });
    }
  }
  const keyServices: HandedOver[] = [];
  for (const [name, key] of Object.entries(view.value.keyServices)) {
    if (key.num !== node) continue;
    const reply = await ssi.handover(name, options.to);
    if (reply.ok) keyServices.push({ name, to: reply.value.num });
    else keyServices.push({ name, errno: reply.errno, detail: reply.detail });
  }
  return ok({ moved, stayed: [...stayed.values()], keyServices });
}

/** The list with a process and its descendants on another node: what the next is weighed against. */
function placed(processes: readonly ProcessInfo[], top: number, to: number): ProcessInfo[] {
  const tree = new Set([top]);
  // Parents come before children in no particular order: repeat until nothing is added.
  for (let size = 0; size !== tree.size; ) {
    size = tree.size;
    for (const p of processes) if (tree.has(p.ppid)) tree.add(p.pid);
  }
  return processes.map((p) => (tree.has(p.pid) ? { ...p, node: to } : p));
}

/** Possible targets, the one with the fewest processes per CPU first. */
function targets(
  processes: readonly ProcessInfo[],
  others: readonly { num: number; facts: { cpus: number; native: boolean } }[],
  p: ProcessInfo,
): number[] {
  const load = (num: number, cpus: number): number =>
    processes.filter((q) => q.node === num).length / cpus;
  return others
    .filter((m) => p.kind === 'actor' || m.facts.native)
    .map((m) => ({ num: m.num, load: load(m.num, m.facts.cpus) }))
    .sort((a, b) => a.load - b.load || a.num - b.num)
    .map((m) => m.num);
}

/** One node may refuse (CPU flags, a missing file) what the next takes. */
async function moveToAny(ssi: Ssi, p: ProcessInfo, nums: readonly number[]): Promise<Reply<Moved>> {
  let last: Reply<never> = fail('EOPNOTSUPP', 'no other node runs native programs');
  for (const to of nums) {
    const reply = await ssi.migrate(p.pid, to);
    if (reply.ok) return ok({ pid: p.pid, to, freezeMs: reply.value.freezeMs });
    last = reply;
    if (reply.errno !== 'EOPNOTSUPP' && reply.errno !== 'EHOSTDOWN') break;
  }
  return last;
}
