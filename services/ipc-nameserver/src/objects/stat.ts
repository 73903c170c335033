// What there is of an object now. [msgctl(2), semctl(2): IPC_STAT; mq_getattr(3)]
import type { IpcStat } from '@ssi/contracts';
import type { IpcObject } from './object.ts';
import * as pipes from './pipe.ts';
import { waitingIn } from './waiting.ts';

export function stat(o: IpcObject): IpcStat {
  const { perm, data } = o;
  const waiting = waitingIn(data).length;
  const sum = (messages: readonly { text: Uint8Array }[]): number =>
    messages.reduce((n, m) => n + m.text.length, 0);
  switch (data.kind) {
    case 'msg': {
      const { bytes, queueBytes } = data;
      return { perm, holds: data.messages.length, bytes, queueBytes, waiting };
    }
    case 'sem':
      return { perm, holds: 0, bytes: 0, nsems: data.values.length, waiting };
    case 'mq': {
      const { maxMessages, messageBytes } = data;
      const bytes = sum(data.messages);
      return { perm, holds: data.messages.length, bytes, maxMessages, messageBytes, waiting };
    }
    case 'psem':
      return { perm, holds: data.value, bytes: 0, waiting };
    case 'fifo': {
      const bytes = pipes.bytesIn(data);
      const sides = { readers: pipes.readersOf(data), writers: pipes.writersOf(data) };
      return { perm, holds: bytes, bytes, ...sides, waiting };
    }
  }
}
