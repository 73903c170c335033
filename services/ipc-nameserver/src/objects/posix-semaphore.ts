// POSIX semaphore by name: a count that one waits for and posts. Who waits longest goes first. [sem_overview(7)]
import { type IpcOp, ipcLimits } from '@ssi/contracts';
import { type Call, done, refused, type Settled } from './call.ts';
import { type Ends, endKey } from './end.ts';

export interface PosixSemaphore {
  readonly kind: 'psem';
  value: number;
  readonly waiting: { readonly id: number }[];
  readonly ends: Ends;
}

export const newPosixSemaphore = (value: number): PosixSemaphore => ({
  ...{ kind: 'psem', value, waiting: [], ends: {} },
});

export function semwait(s: PosixSemaphore, call: Call, m: IpcOp<'semwait'>): Settled[] {
  if (!s.ends[endKey(call.owner, m.handle)]) return [notOpen(call)];
  if (s.value > 0) {
    s.value--;
    return [done(call.id)];
  }
  if (m.nowait) return [refused(call.id, 'EAGAIN', 'it is 0')];
  s.waiting.push({ id: call.id });
  return [];
}

export function sempost(s: PosixSemaphore, call: Call, m: IpcOp<'sempost'>): Settled[] {
  if (!s.ends[endKey(call.owner, m.handle)]) return [notOpen(call)];
  if (s.value >= ipcLimits.posixSemValueMax)
    return [refused(call.id, 'EOVERFLOW', 'it has its greatest value')];
  const waiter = s.waiting.shift();
  if (!waiter) s.value++;
  return waiter ? [done(call.id), done(waiter.id)] : [done(call.id)];
}

export function semgetvalue(s: PosixSemaphore, call: Call, m: IpcOp<'semgetvalue'>): Settled[] {
  if (!s.ends[endKey(call.owner, m.handle)]) return [notOpen(call)];
  return [done(call.id, { value: s.value })];
}

const notOpen = (call: Call): Settled => refused(call.id, 'EBADF', 'not open');
