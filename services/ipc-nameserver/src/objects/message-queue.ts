// System V message queue: messages with types, receivers that choose by type, senders that wait for room.
// A message goes past the queue to who waits for it. [msgop(2); linux: ipc/msg.c, whose order this keeps]
import { type IpcOp, ipcLimits } from '@ssi/contracts';
import { done, refused, type Settled } from './call.ts';

export interface Message {
  readonly type: number;
  readonly text: Uint8Array;
}
interface Receiver {
  readonly id: number;
  readonly type: number;
  readonly except: boolean;
  /** Greater messages end it with E2BIG. */
  readonly size: number;
  readonly noerror: boolean;
}
interface Sender {
  readonly id: number;
  readonly message: Message;
}

export interface MessageQueue {
  readonly kind: 'msg';
  queueBytes: number;
  bytes: number;
  readonly messages: Message[];
  readonly receivers: Receiver[];
  readonly senders: Sender[];
}

export const newMessageQueue = (): MessageQueue => ({
  kind: 'msg',
  queueBytes: ipcLimits.msgQueueBytes,
  bytes: 0,
  messages: [],
  receivers: [],
  senders: [],
});

const fits = (q: MessageQueue, m: Message): boolean =>
  m.text.length + q.bytes <= q.queueBytes && 1 + q.messages.length <= q.queueBytes;

const wants = (r: Pick<Receiver, 'type' | 'except'>, type: number): boolean => {
  if (r.type === 0) return true;
  if (r.type < 0) return type <= -r.type;
  return (type === r.type) !== r.except;
};

/** To the first receiver that wants it and has room for it; those without room end. */
function add(q: MessageQueue, message: Message): Settled[] {
  const settled: Settled[] = [];
  for (const r of [...q.receivers]) {
    if (!wants(r, message.type)) continue;
    q.receivers.splice(q.receivers.indexOf(r), 1);
    if (message.text.length <= r.size || r.noerror) {
      settled.push(given(r, message));
      return settled;
    }
    settled.push(tooBig(r.id, message, r.size));
  }
  q.messages.push(message);
  q.bytes += message.text.length;
  return settled;
}

const given = (r: { id: number; size: number }, m: Message): Settled =>
  done(r.id, { type: m.type, text: m.text.subarray(0, r.size) });

const tooBig = (id: number, m: Message, size: number): Settled =>
  refused(id, 'E2BIG', `the message has ${m.text.length} bytes, the buffer ${size}`);

/** Every sender whose message fits now, in order. */
function admit(q: MessageQueue): Settled[] {
  const settled: Settled[] = [];
  for (const s of [...q.senders]) {
    if (!fits(q, s.message)) continue;
    q.senders.splice(q.senders.indexOf(s), 1);
    settled.push(done(s.id), ...add(q, s.message));
  }
  return settled;
}

export function msgsnd(q: MessageQueue, id: number, m: IpcOp<'msgsnd'>): Settled[] {
  if (m.type < 1) return [refused(id, 'EINVAL', 'the type of a message is at least 1')];
  if (m.text.length > ipcLimits.msgMax)
    return [refused(id, 'EINVAL', `longer than ${ipcLimits.msgMax} bytes`)];
  // A copy: what came may be a part of something larger.
  const message = { type: m.type, text: new Uint8Array(m.text) };
  if (fits(q, message)) return [done(id), ...add(q, message)];
  if (m.nowait) return [refused(id, 'EAGAIN', 'the queue is full')];
  q.senders.push({ id, message });
  return [];
}

/** Of a negative type the lowest, and of equal ones the oldest. */
function find(q: MessageQueue, r: Pick<Receiver, 'type' | 'except'>): number {
  let found = -1;
  for (const [at, m] of q.messages.entries()) {
    if (!wants(r, m.type)) continue;
    if (r.type >= 0) return at;
    if (found < 0 || m.type < (q.messages[found]?.type ?? 0)) found = at;
  }
  return found;
}

export function msgrcv(q: MessageQueue, id: number, m: IpcOp<'msgrcv'>): Settled[] {
  if (m.size < 0) return [refused(id, 'EINVAL', 'a buffer has no negative size')];
  const receiver: Receiver = {
    ...{ id, type: m.type, size: m.size },
    except: m.except === true && m.type > 0,
    noerror: m.noerror === true,
  };
  const at = find(q, receiver);
  const message = q.messages[at];
  if (message) {
    if (message.text.length > m.size && !m.noerror) return [tooBig(id, message, m.size)];
    q.messages.splice(at, 1);
    q.bytes -= message.text.length;
    return [given(receiver, message), ...admit(q)];
  }
  if (m.nowait) return [refused(id, 'ENOMSG', 'no message of that type')];
  q.receivers.push(receiver);
  return [];
}

/** After IPC_SET: there may be room now. Receivers try again too, which changes nothing here. */
export function setQueueBytes(q: MessageQueue, bytes: number): Settled[] {
  q.queueBytes = bytes;
  return admit(q);
}
