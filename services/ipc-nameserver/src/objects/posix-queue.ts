// POSIX message queue: the highest priority first, of equal ones the oldest; open ends with their rights;
// one client may be told of a message that comes to the empty queue. [mq_overview(7); linux: ipc/mqueue.c]
import { type IpcOp, ipcLimits } from '@ssi/contracts';
import { type Call, done, refused, type Settled } from './call.ts';
import { type Ends, endKey } from './end.ts';

interface Message {
  readonly priority: number;
  readonly text: Uint8Array;
}

export interface PosixQueue {
  readonly kind: 'mq';
  readonly maxMessages: number;
  readonly messageBytes: number;
  /** In the order in which they are received. */
  readonly messages: Message[];
  readonly receivers: { readonly id: number }[];
  readonly senders: { readonly id: number; readonly message: Message }[];
  readonly ends: Ends;
  /** Who is told, by its end. */
  notify: string | undefined;
}

export const newPosixQueue = (q: { maxMessages: number; messageBytes: number }): PosixQueue => ({
  kind: 'mq',
  ...q,
  messages: [],
  receivers: [],
  senders: [],
  ends: {},
  notify: undefined,
});

function insert(q: PosixQueue, message: Message): void {
  let at = q.messages.length;
  while (at > 0 && (q.messages[at - 1]?.priority ?? 0) < message.priority) at--;
  q.messages.splice(at, 0, message);
}

const given = (id: number, m: Message): Settled => done(id, { text: m.text, priority: m.priority });

/** `told` is the end to notify, once. */
export interface Sent {
  readonly settled: Settled[];
  readonly told?: string;
}

export function mqsend(q: PosixQueue, call: Call, m: IpcOp<'mqsend'>): Sent {
  const end = q.ends[endKey(call.owner, m.handle)];
  const { id } = call;
  const no = (...why: Parameters<typeof refused>): Sent => ({ settled: [refused(...why)] });
  if (m.priority < 0 || m.priority >= ipcLimits.mqPriorityMax)
    return no(id, 'EINVAL', `a priority is below ${ipcLimits.mqPriorityMax}`);
  if (!end?.write) return no(id, 'EBADF', 'not open for sending');
  if (m.text.length > q.messageBytes)
    return no(id, 'EMSGSIZE', `longer than ${q.messageBytes} bytes`);
  // A copy: what came may be a part of something larger.
  const message = { priority: m.priority, text: new Uint8Array(m.text) };
  if (q.messages.length >= q.maxMessages) {
    if (end.nonblock) return no(id, 'EAGAIN', 'the queue is full');
    q.senders.push({ id, message });
    return { settled: [] };
  }
  const receiver = q.receivers.shift();
  if (receiver) return { settled: [done(id), given(receiver.id, message)] };
  insert(q, message);
  const told = q.messages.length === 1 ? q.notify : undefined;
  if (told !== undefined) q.notify = undefined;
  return { settled: [done(id)], ...(told !== undefined && { told }) };
}

export function mqreceive(q: PosixQueue, call: Call, m: IpcOp<'mqreceive'>): Settled[] {
  const end = q.ends[endKey(call.owner, m.handle)];
  const { id } = call;
  if (!end?.read) return [refused(id, 'EBADF', 'not open for receiving')];
  if (m.size < q.messageBytes)
    return [refused(id, 'EMSGSIZE', `a buffer for ${q.messageBytes} bytes is needed`)];
  const message = q.messages.shift();
  if (!message) {
    if (end.nonblock) return [refused(id, 'EAGAIN', 'the queue is empty')];
    q.receivers.push({ id });
    return [];
  }
  const sender = q.senders.shift();
  if (!sender) return [given(id, message)];
  insert(q, sender.message);
  return [given(id, message), done(sender.id)];
}

export function mqnotify(q: PosixQueue, call: Call, m: IpcOp<'mqnotify'>): Settled[] {
  const key = endKey(call.owner, m.handle);
  if (!q.ends[key]) return [refused(call.id, 'EBADF', 'not open')];
  if (m.on && q.notify !== undefined)
    return [refused(call.id, 'EBUSY', 'another is to be told already')];
  if (m.on) q.notify = key;
  else if (q.notify !== undefined && q.ends[q.notify]?.owner === call.owner) q.notify = undefined;
  return [done(call.id)];
}

export function closeEnd(q: PosixQueue, key: string): void {
  const end = q.ends[key];
  delete q.ends[key];
  // Any of its ends that a process closes ends its notification. [linux: mqueue_flush_file]
  if (q.notify !== undefined && end && q.notify.startsWith(`${end.owner}#`)) q.notify = undefined;
}
