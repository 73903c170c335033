// The same programs on our objects. What the kernel leaves open (which of two that it wakes at once comes
// first) is left out of a program before either runs it.
import {
  errnoNumber,
  type IpcRequest,
  type IpcResult,
  type IpcType,
  type Reply,
  type SemOp,
} from '@ssi/contracts';
import {
  giveUp,
  type IpcObject,
  newData,
  type Outcome,
  operate,
  ownerEnded,
} from '../../src/index.ts';
import { content, hash, type Program, type Step } from './program.ts';

const root = { uid: 0, gid: 0 };
const perm = { uid: 0, gid: 0, cuid: 0, cgid: 0, mode: 0o600 };
const flag = (n: number | undefined): boolean => n === 1;

/** The call of the manual page, and which object it is for. */
export function requestOf({ op, args: a }: Step): readonly [IpcType, IpcRequest] | undefined {
  const [x = 0, y = 0, z = 0] = a;
  switch (op) {
    case 'msgsnd':
      return ['msg', { op, type: x, text: content(y, z), nowait: flag(a[3]) }];
    case 'msgrcv':
      return [
        'msg',
        { op, size: x, type: y, nowait: flag(z), noerror: flag(a[3]), except: flag(a[4]) },
      ];
    case 'msgset':
      return ['msg', { op: 'set', queueBytes: x }];
    case 'msgrm':
      return ['msg', { op: 'remove' }];
    case 'semop': {
      const ops: SemOp[] = Array.from({ length: x }, (_, i) => {
        const [num = 0, by = 0, nowait, undo] = a.slice(1 + 4 * i);
        return { num, op: by, nowait: flag(nowait), undo: flag(undo) };
      });
      return ['sem', { op, ops }];
    }
    case 'getval':
    case 'getncnt':
    case 'getzcnt':
      return ['sem', { op: 'semctl', command: op.toUpperCase() as 'GETVAL', num: x }];
    case 'setval':
      return ['sem', { op: 'semctl', command: 'SETVAL', num: x, values: [y] }];
    case 'getall':
      return ['sem', { op: 'semctl', command: 'GETALL' }];
    case 'setall':
      return ['sem', { op: 'semctl', command: 'SETALL', values: [x, y, z] }];
    case 'semrm':
      return ['sem', { op: 'remove' }];
    case 'mqopen':
    case 'open':
      // Neither of both is O_RDONLY.
      return [
        op === 'open' ? 'fifo' : 'mq',
        {
          op: 'open',
          handle: x + 1,
          read: flag(y) || !flag(z),
          write: flag(z),
          nonblock: flag(a[3]),
        },
      ];
    case 'close':
      return [x < 4 ? 'mq' : 'fifo', { op, handle: x + 1 }];
    case 'mqsend':
      return ['mq', { op, handle: x + 1, text: content(y, z), priority: a[3] ?? 0 }];
    case 'mqrecv':
      return ['mq', { op: 'mqreceive', handle: x + 1, size: y }];
    case 'mqnotify':
      return ['mq', { op, handle: x + 1, on: flag(y) }];
    case 'read':
      return ['fifo', { op, handle: x + 1, size: y }];
    case 'write':
      return ['fifo', { op, handle: x + 1, bytes: content(y, z) }];
  }
}

export function told(worker: number, op: string, reply: Reply<IpcResult>): string {
  if (!reply.ok) return `${worker}:-1:${errnoNumber[reply.errno]}:`;
  const { text, type, priority, value, values, n } = reply.value;
  const ret = value ?? n ?? text?.length ?? 0;
  const first = type ?? priority;
  const read = text && `${first === undefined ? '' : `${first}/`}${hash(text)}`;
  // One that was cut off by a signal never gets here with bytes of the kernel's.
  return `${worker}:${ret}:0:${op === 'getall' ? values?.join(',') : (read ?? '')}`;
}

/** The program without what is left open, and what each step ends. */
export function runOurs(whole: Program): { program: Program; lines: string[] } {
  const attributes = { ...whole, value: 0 };
  const objects = new Map<IpcType, IpcObject>();
  for (const [i, type] of (['msg', 'sem', 'mq', 'fifo'] as const).entries()) {
    const data = newData(type, attributes, root);
    if (!data.ok) throw new Error(data.detail);
    objects.set(type, { id: i + 1, perm, unlinked: false, data: data.value });
  }
  const busy = new Map<number, { id: number; op: string; object: IpcObject }>();
  let lastId = 0;
  const steps: Step[] = [];
  const lines: string[] = [];

  for (const step of whole.steps) {
    const { worker, op } = step;
    const ended: string[] = [];
    const settle = ({ settled }: Pick<Outcome, 'settled'>): void => {
      for (const { id, reply } of settled) {
        const found = [...busy].find(([, b]) => b.id === id);
        if (!found) continue;
        busy.delete(found[0]);
        ended.push(told(found[0], found[1].op, reply));
      }
    };
    const waits = busy.get(worker);
    if (op === 'exit') {
      busy.delete(worker);
      for (const o of objects.values())
        settle(ownerEnded(o, `${worker}`, waits?.object === o ? [waits.id] : []));
    } else if (op === 'cancel') {
      const end = waits && giveUp(waits.object, waits.id, 'EINTR');
      if (end) settle({ settled: [end] });
    } else {
      const [type, request] = requestOf(step) ?? [];
      if (waits || !type || !request) continue;
      const object = objects.get(type);
      if (object && isLeftOpen(object, step, busy)) continue;
      // Whether there is such a set is looked at before or after the value.
      if (!object && op === 'setval') continue;
      const id = ++lastId;
      if (!object) ended.push(told(worker, op, { ok: false, errno: 'EINVAL', detail: '' }));
      else {
        busy.set(worker, { id, op, object });
        const outcome = operate(object, { id, owner: `${worker}`, cred: root }, request);
        settle(outcome);
        if (outcome.gone) objects.delete(type);
      }
    }
    steps.push(step);
    lines.push(ended.sort().join(' '));
  }
  return { program: { ...whole, steps }, lines };
}

/** A second waiter where the kernel wakes all, or a descriptor that is in use. */
function isLeftOpen(
  o: IpcObject,
  { worker, op, args }: Step,
  busy: Map<number, { op: string }>,
): boolean {
  const others = [...busy.values()].map((b) => b.op);
  const { data } = o;
  if (op === 'msgsnd' && !flag(args[3])) return others.includes('msgsnd');
  if (op === 'msgset')
    return data.kind === 'msg' && data.receivers.length + data.senders.length > 1;
  const end = 'ends' in data ? data.ends[`${worker}#${(args[0] ?? 0) + 1}`] : undefined;
  if (op === 'open' || op === 'mqopen') return end !== undefined;
  if (op === 'read' || op === 'write') return end?.nonblock !== true && others.includes(op);
  return false;
}
