// One IPC object of any type: whose it is, its calls, and how it ends. Plain data in, plain data out.
import {
  fail,
  type IpcAttributes,
  type IpcCred,
  type IpcErrno,
  type IpcPerm,
  type IpcRequest,
  type IpcType,
  ipcLimits,
  ok,
  type Reply,
} from '@ssi/contracts';
import {
  type Call,
  done,
  mayRead,
  mayWrite,
  owns,
  permits,
  refused,
  type Settled,
} from './call.ts';
import { endKey, endsOf, isOpen } from './end.ts';
import {
  type MessageQueue,
  msgrcv,
  msgsnd,
  newMessageQueue,
  setQueueBytes,
} from './message-queue.ts';
import * as pipes from './pipe.ts';
import * as queues from './posix-queue.ts';
import {
  newPosixSemaphore,
  type PosixSemaphore,
  semgetvalue,
  sempost,
  semwait,
} from './posix-semaphore.ts';
import { newSemaphoreSet, type SemaphoreSet, semctl, semop, undo } from './semaphore-set.ts';
import { stat } from './stat.ts';
import { ended, withdrawCall } from './waiting.ts';

export type ObjectData =
  | MessageQueue
  | SemaphoreSet
  | queues.PosixQueue
  | PosixSemaphore
  | pipes.Pipe;

export interface IpcObject {
  readonly id: number;
  /** As in the object table; absent: private. */
  readonly name?: string;
  perm: IpcPerm;
  /** Its name is gone; it stays for who has it open. */
  unlinked: boolean;
  readonly data: ObjectData;
}

/** What a call did. */
export interface Outcome {
  readonly settled: readonly Settled[];
  /** The end to notify. [mq_notify(3)] */
  readonly told?: string;
  /** Its name is gone with this call. */
  readonly removed?: boolean;
  /** It is gone altogether. */
  readonly gone?: boolean;
  /** Owner or mode changed. */
  readonly changed?: boolean;
}

/** EINVAL: no such object can be. */
export function newData(
  type: IpcType,
  a: IpcAttributes,
  who: IpcCred,
): Reply<ObjectData, 'EINVAL'> {
  const { maxMessages = ipcLimits.mqMessages, messageBytes = ipcLimits.mqBytes } = a;
  switch (type) {
    case 'msg':
      return ok(newMessageQueue());
    case 'sem': {
      const { nsems = 0 } = a;
      if (nsems < 1 || nsems > ipcLimits.semSetMax)
        return fail('EINVAL', `a new set has 1..${ipcLimits.semSetMax} semaphores`);
      return ok(newSemaphoreSet(nsems));
    }
    case 'mq': {
      const root = who.uid === 0;
      const most = root ? ipcLimits.mqMessagesMax : ipcLimits.mqMessages;
      const longest = root ? ipcLimits.mqBytesMax : ipcLimits.mqBytes;
      if (maxMessages < 1 || maxMessages > most || messageBytes < 1 || messageBytes > longest)
        return fail('EINVAL', `a queue has 1..${most} messages of 1..${longest} bytes`);
      return ok(queues.newPosixQueue({ maxMessages, messageBytes }));
    }
    case 'psem': {
      const { value = 0 } = a;
      if (value < 0 || value > ipcLimits.posixSemValueMax)
        return fail('EINVAL', `its value is 0..${ipcLimits.posixSemValueMax}`);
      return ok(newPosixSemaphore(value));
    }
    case 'fifo':
      return ok(pipes.newPipe());
  }
}

/** Rights that a System V call needs each time; those of an end were looked at when it was opened. */
function wanted(m: IpcRequest): number {
  switch (m.op) {
    case 'msgsnd':
      return mayWrite;
    case 'semop':
      return m.ops.some((o) => o.op !== 0) ? mayWrite : mayRead;
    case 'semctl':
      return m.command.startsWith('SET') ? mayWrite : mayRead;
    case 'msgrcv':
    case 'stat':
      return mayRead;
    case 'open':
      return (m.read ? mayRead : 0) | (m.write ? mayWrite : 0);
    default:
      return 0;
  }
}

export function operate(o: IpcObject, call: Call, m: IpcRequest): Outcome {
  const { data } = o;
  if (!permits(o.perm, call.cred, wanted(m)))
    return { settled: [refused(call.id, 'EACCES', 'its mode does not allow it')] };
  if (m.op === 'stat') return { settled: [done(call.id, { stat: stat(o) })] };
  if (m.op === 'set' || m.op === 'remove') {
    if (!owns(o.perm, call.cred))
      return { settled: [refused(call.id, 'EPERM', 'only its owner, its creator and root may')] };
    return m.op === 'set' ? set(o, call, m) : remove(o, call);
  }
  if ('ends' in data && (m.op === 'open' || m.op === 'close' || m.op === 'setNonblock'))
    return ends(o, data, call, m);
  if (data.kind === 'msg') {
    if (m.op === 'msgsnd') return { settled: msgsnd(data, call.id, m) };
    if (m.op === 'msgrcv') return { settled: msgrcv(data, call.id, m) };
  } else if (data.kind === 'sem') {
    if (m.op === 'semop') return { settled: semop(data, call, m.ops) };
    if (m.op === 'semctl') return { settled: semctl(data, call.id, m) };
  } else if (data.kind === 'mq') {
    if (m.op === 'mqsend') return queues.mqsend(data, call, m);
    if (m.op === 'mqreceive') return { settled: queues.mqreceive(data, call, m) };
    if (m.op === 'mqnotify') return { settled: queues.mqnotify(data, call, m) };
  } else if (data.kind === 'psem') {
    if (m.op === 'semwait') return { settled: semwait(data, call, m) };
    if (m.op === 'sempost') return { settled: sempost(data, call, m) };
    if (m.op === 'semgetvalue') return { settled: semgetvalue(data, call, m) };
  } else {
    if (m.op === 'read') return { settled: pipes.read(data, call, m) };
    if (m.op === 'write') return { settled: pipes.write(data, call, m) };
  }
  return { settled: [refused(call.id, 'EINVAL', `${m.op} is no call of this object`)] };
}

type WithEnds = Extract<ObjectData, { ends: unknown }>;

function ends(
  o: IpcObject,
  data: WithEnds,
  call: Call,
  m: Extract<IpcRequest, { op: 'open' | 'close' | 'setNonblock' }>,
): Outcome {
  const key = endKey(call.owner, m.handle);
  const end = data.ends[key];
  if (m.op === 'open') {
    if (data.kind === 'fifo') return { settled: pipes.open(data, call, m) };
    if (end || (!m.read && !m.write)) return { settled: [refused(call.id, 'EINVAL')] };
    const { read, write, nonblock = false } = m;
    data.ends[key] = { owner: call.owner, read, write, nonblock };
    return { settled: [done(call.id)] };
  }
  if (!end) return { settled: [refused(call.id, 'EBADF', 'not open')] };
  if (m.op === 'setNonblock') {
    end.nonblock = m.nonblock;
    return { settled: [done(call.id)] };
  }
  const settled = [done(call.id), ...closeEnd(data, key)];
  return { settled, gone: o.unlinked && !isOpen(data.ends) };
}

function closeEnd(data: WithEnds, key: string): Settled[] {
  if (data.kind === 'fifo') return pipes.closeEnd(data, key);
  if (data.kind === 'mq') queues.closeEnd(data, key);
  else delete data.ends[key];
  return [];
}

function set(o: IpcObject, call: Call, m: Extract<IpcRequest, { op: 'set' }>): Outcome {
  const { data } = o;
  const { queueBytes } = m;
  if (queueBytes !== undefined && queueBytes > ipcLimits.msgQueueBytes && call.cred.uid !== 0)
    return { settled: [refused(call.id, 'EPERM', 'only root may have larger queues')] };
  const { uid = o.perm.uid, gid = o.perm.gid, mode = o.perm.mode } = m;
  o.perm = { ...o.perm, uid, gid, mode };
  const settled =
    data.kind === 'msg' && queueBytes !== undefined ? setQueueBytes(data, queueBytes) : [];
  return { settled: [done(call.id), ...settled], changed: true };
}

function remove(o: IpcObject, call: Call): Outcome {
  const { data } = o;
  o.unlinked = true;
  if ('ends' in data) return { settled: [done(call.id)], removed: true, gone: !isOpen(data.ends) };
  const settled = [done(call.id), ...ended(data, 'EIDRM')];
  return { settled, removed: true, gone: true };
}

/** Its client is gone: what it undertook to undo, its open ends, its calls that wait. */
export function ownerEnded(o: IpcObject, owner: string, calls: readonly number[]): Outcome {
  const { data } = o;
  const settled = calls.flatMap((id) => withdrawCall(data, id) ?? []);
  if (data.kind === 'sem') settled.push(...undo(data, owner));
  if (!('ends' in data)) return { settled };
  for (const key of endsOf(data.ends, owner)) settled.push(...closeEnd(data, key));
  return { settled, gone: o.unlinked && !isOpen(data.ends) };
}

/** A call that waits is given up. undefined: it does not wait any more. */
export const giveUp = (o: IpcObject, id: number, errno: IpcErrno): Settled | undefined =>
  withdrawCall(o.data, id, errno);
