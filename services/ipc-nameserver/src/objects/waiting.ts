// Calls that wait in an object: which, taking one out, ending all of them.
import type { IpcErrno } from '@ssi/contracts';
import { refused, type Settled, withdraw } from './call.ts';
import type { ObjectData } from './object.ts';
import { withdrawn } from './pipe.ts';

type Waiter = { readonly id: number };

function queuesOf(data: ObjectData): Waiter[][] {
  switch (data.kind) {
    case 'msg':
    case 'mq':
      return [data.receivers, data.senders];
    case 'sem':
      return [data.altering, data.waiting];
    case 'psem':
      return [data.waiting];
    case 'fifo':
      return [data.opening, data.readers, data.writers];
  }
}

export const waitingIn = (data: ObjectData): number[] =>
  queuesOf(data).flatMap((queue) => queue.map((w) => w.id));

/** undefined: it does not wait here. */
export function withdrawCall(
  data: ObjectData,
  id: number,
  errno: IpcErrno = 'EINTR',
): Settled | undefined {
  // What a write had put in before it waited counts.
  if (data.kind === 'fifo') return withdrawn(data, id, errno);
  return queuesOf(data).some((queue) => withdraw(queue, id)) ? refused(id, errno) : undefined;
}

/** Ends everything that waits. */
export function ended(data: ObjectData, errno: IpcErrno): Settled[] {
  return queuesOf(data).flatMap((queue) =>
    queue.splice(0).map((w) => refused(w.id, errno, 'it was removed')),
  );
}
