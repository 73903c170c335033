// Open ends of IPC objects: what a file descriptor is on a single machine. [fifo(7), mq_overview(7), sem_overview(7)]
import { fail, ipcLimits, ok, type Reply } from '@ssi/contracts';
import type { Answer, IpcSession, WaitOptions } from './ipc-session.ts';

/** O_RDONLY, O_WRONLY or both, and O_NONBLOCK. */
export interface OpenFlags {
  readonly read?: boolean;
  readonly write?: boolean;
  readonly nonblock?: boolean;
}

/** An end of a fifo or pipe; the others have its `close`. */
export class IpcEnd {
  readonly id: number;
  readonly handle: number;
  protected readonly ipc: IpcSession;

  constructor(ipc: IpcSession, id: number, handle: number) {
    this.ipc = ipc;
    this.id = id;
    this.handle = handle;
  }

  /** Up to `size` bytes, at least one; none: every writer is gone. [read(2)] */
  async read(size: number = ipcLimits.pipeCallMax, options?: WaitOptions): Answer<Uint8Array> {
    const most = Math.min(size, ipcLimits.pipeCallMax);
    const reply = await this.ipc.call(
      this.id,
      { op: 'read', handle: this.handle, size: most },
      options,
    );
    return reply.ok ? ok(reply.value.text ?? new Uint8Array()) : reply;
  }

  /**
   * Gives the bytes that went in, all of them unless it does not wait; up to 4,096 are in one piece.
   * EPIPE: no reader is left; what went in before counts. [write(2)]
   */
  async write(bytes: Uint8Array, options?: WaitOptions): Answer<number> {
    let written = 0;
    do {
      const piece = bytes.subarray(written, written + ipcLimits.pipeCallMax);
      const request = { op: 'write' as const, handle: this.handle, bytes: piece };
      const reply = await this.ipc.call(this.id, request, options);
      if (!reply.ok) return written > 0 ? ok(written) : reply;
      const { n = 0 } = reply.value;
      written += n;
      if (n < piece.length) break;
    } while (written < bytes.length);
    return ok(written);
  }

  /** [fcntl(2): O_NONBLOCK] */
  async setNonblock(nonblock: boolean): Answer<undefined> {
    const reply = await this.ipc.call(this.id, {
      op: 'setNonblock',
      handle: this.handle,
      nonblock,
    });
    return reply.ok ? ok() : reply;
  }

  async close(): Answer<undefined> {
    this.ipc.onTold(this.handle, undefined);
    const reply = await this.ipc.call(this.id, { op: 'close', handle: this.handle });
    return reply.ok ? ok() : reply;
  }
}

export class PosixQueue extends IpcEnd {
  /** [mq_send(3)] EAGAIN full, where it does not wait; EMSGSIZE. */
  async send(text: Uint8Array, priority = 0, options?: WaitOptions): Answer<undefined> {
    const request = { op: 'mqsend' as const, handle: this.handle, text, priority };
    const reply = await this.ipc.call(this.id, request, options);
    return reply.ok ? ok() : reply;
  }

  /** [mq_receive(3)] EAGAIN empty, where it does not wait. */
  async receive(options?: WaitOptions): Answer<{ text: Uint8Array; priority: number }> {
    const request = { op: 'mqreceive' as const, handle: this.handle, size: ipcLimits.mqBytesMax };
    const reply = await this.ipc.call(this.id, request, options);
    if (!reply.ok) return reply;
    const { text = new Uint8Array(), priority = 0 } = reply.value;
    return ok({ text, priority });
  }

  /** `fn` is called once, when a message comes to the empty queue; undefined withdraws. EBUSY. [mq_notify(3)] */
  async notify(fn: (() => void) | undefined): Answer<undefined> {
    const once = fn && this.#once(fn);
    this.ipc.onTold(this.handle, once);
    const on = fn !== undefined;
    const reply = await this.ipc.call(this.id, { op: 'mqnotify', handle: this.handle, on });
    if (!reply.ok) this.ipc.onTold(this.handle, undefined);
    return reply.ok ? ok() : reply;
  }
  #once(fn: () => void): () => void {
    return () => {
      this.ipc.onTold(this.handle, undefined);
      fn();
    };
  }
}

export class PosixSemaphore extends IpcEnd {
  /** [sem_wait(3), sem_timedwait(3), sem_trywait(3)] */
  async wait(options: WaitOptions & { nowait?: boolean } = {}): Answer<undefined> {
    const { nowait } = options;
    const request = { op: 'semwait' as const, handle: this.handle, nowait };
    const reply = await this.ipc.call(this.id, request, options);
    return reply.ok ? ok() : reply;
  }
  /** [sem_post(3)] EOVERFLOW. */
  async post(): Answer<undefined> {
    const reply = await this.ipc.call(this.id, { op: 'sempost', handle: this.handle });
    return reply.ok ? ok() : reply;
  }
  /** [sem_getvalue(3)] */
  async value(): Promise<Reply<number>> {
    const reply = await this.ipc.call(this.id, { op: 'semgetvalue', handle: this.handle });
    if (!reply.ok) return reply;
    const { value } = reply.value;
    return value === undefined ? fail('EBADMSG', 'no value in the answer') : ok(value);
  }
}
