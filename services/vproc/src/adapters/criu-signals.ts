// Signals that nobody sent. The copy that criu makes is stopped by SIGSTOP and continued by SIGCONT, and a
// parent hears of both. Who takes SIGCHLD from a signalfd reads what happened: script(1) follows a child that
// stopped, and stops itself. [signalfd(2), signal(7); util-linux: pty-session.c]
import {
  type Field,
  numberOf,
  parseEntries,
  parseFields,
  withEntries,
  writeFields,
} from './criu-image.ts';

/** Fields of core_entry, task_core_entry, pstree_entry. [core.proto, siginfo.proto, pstree.proto] */
const core = { tc: 3 } as const;
const task = { state: 1, blocked: 5, waiting: 10 } as const;
const tree = { pid: 1, parent: 2 } as const;
const dead = 2;

const SIGCHLD = 17;
const SIGCONT = 18;
const CLD_CONTINUED = 6;
/** Of siginfo_t: si_code, si_pid, si_status. */
const siginfo = { bytes: 128, code: 8, pid: 16, status: 24 } as const;

/** pstree.img: the children of each process. */
export function childrenIn(pstree: Uint8Array): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const entry of parseEntries(pstree)) {
    const fields = parseFields(entry);
    const parent = numberOf(fields, tree.parent);
    children.set(parent, [...(children.get(parent) ?? []), numberOf(fields, tree.pid)]);
  }
  return children;
}

const taskOf = (image: Uint8Array): Field | undefined =>
  parseFields(parseEntries(image)[0] ?? new Uint8Array()).find((f) => f.number === core.tc);

/** core-PID.img: it has not ended. */
export function isAlive(image: Uint8Array | undefined): boolean {
  const info = image && taskOf(image);
  return info !== undefined && numberOf(parseFields(info.bytes), task.state) !== dead;
}

/**
 * core-PID.img of a process that has SIGCHLD blocked, so that it waits in it that `child` was continued. A
 * signal that waits already is not queued a second time, so of its children's stop it hears nothing.
 * undefined: nothing to mend.
 */
export function mendStops(image: Uint8Array, child: number): Uint8Array | undefined {
  const [entry] = parseEntries(image);
  const info = taskOf(image);
  if (!entry || !info) return undefined;
  const fields = parseFields(info.bytes);
  const mask = fields.find((f) => f.number === task.blocked)?.value ?? 0n;
  if ((mask & (1n << BigInt(SIGCHLD - 1))) === 0n) return undefined;
  const queue = fields.find((f) => f.number === task.waiting);
  const waiting = parseFields(queue?.bytes ?? new Uint8Array());
  if (waiting.some((f) => signalIn(f.bytes) === SIGCHLD)) return undefined;
  const bytes = writeFields([...waiting, continued(child)]);
  const others = fields.filter((f) => f !== queue);
  const next = { ...info, bytes: writeFields([...others, field(task.waiting, bytes)]) };
  const whole = parseFields(entry).map((f) => (f.number === core.tc ? next : f));
  return withEntries(image, [writeFields(whole)]);
}

const field = (number: number, bytes: Uint8Array): Field => ({ number, wire: 2, value: 0n, bytes });
const viewOf = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.length);

/** si_signo of a siginfo_entry. */
function signalIn(entry: Uint8Array): number {
  const raw = parseFields(entry)[0]?.bytes;
  return raw && raw.length >= 4 ? viewOf(raw).getInt32(0, true) : 0;
}

function continued(child: number): Field {
  const raw = new Uint8Array(siginfo.bytes);
  const view = viewOf(raw);
  view.setInt32(0, SIGCHLD, true);
  view.setInt32(siginfo.code, CLD_CONTINUED, true);
  view.setInt32(siginfo.pid, child, true);
  view.setInt32(siginfo.status, SIGCONT, true);
  return field(1, writeFields([field(1, raw)]));
}
