// IPC for a program: a session with the agent of one node, which is to it what a process is on a single machine:
// undo is applied and ends are closed when it ends. Names are those of System V and POSIX. [svipc(7),
// mq_overview(7), sem_overview(7), fifo(7); services/ipc-nameserver]
import {
  fail,
  type IpcRequest,
  type IpcResult,
  type IpcStat,
  ok,
  type SemOp,
} from '@ssi/contracts';
import { homeNode } from './home-node.ts';
import { IpcEnd, type OpenFlags, PosixQueue, PosixSemaphore } from './ipc-end.ts';
import { type Answer, type GetOptions, IpcSession, type WaitOptions } from './ipc-session.ts';
import type { ClientLink } from './link.ts';
import type { ViewSource } from './view-source.ts';

export interface IpcOptions {
  /** Whose agent is asked, and where new objects are made; absent: the node this process is on, else an UP one. */
  readonly node?: number;
  /** For people: who this is. */
  readonly label?: string;
}

/** No key: a private object, which nobody finds by a name. */
export const IPC_PRIVATE = 0;

/** EHOSTDOWN: that node is not UP; EAGAIN: its agent is not ready in time. */
export async function openIpc(
  link: ClientLink,
  views: ViewSource,
  options: IpcOptions = {},
): Answer<Ipc> {
  const node = await homeNode(link, views, options.node);
  if (!node.ok) return node;
  const opened = new Ipc(link, views, node.value, options.label);
  const done = await opened.open();
  return done.ok ? ok(opened) : done;
}

export class Ipc extends IpcSession {
  #lastHandle = 0;

  async #idOf(got: Answer<{ id: number }>): Answer<number> {
    const reply = await got;
    return reply.ok ? ok(reply.value.id) : reply;
  }

  /** [msgget(2)] */
  msgget(key: number, options: GetOptions = {}): Answer<number> {
    return this.#idOf(this.get('msg', key === IPC_PRIVATE ? undefined : String(key), options));
  }
  /** [msgsnd(2)] EAGAIN full, with `nowait`; EINVAL; EIDRM. */
  msgsnd(
    id: number,
    type: number,
    text: Uint8Array,
    options: WaitOptions & { nowait?: boolean } = {},
  ): Answer<IpcResult> {
    return this.call(id, { op: 'msgsnd', type, text, nowait: options.nowait }, options);
  }
  /** [msgrcv(2)] ENOMSG none, with `nowait`; E2BIG longer than `size`; EIDRM. */
  async msgrcv(
    id: number,
    size: number,
    type = 0,
    options: WaitOptions & { nowait?: boolean; noerror?: boolean; except?: boolean } = {},
  ): Answer<{ type: number; text: Uint8Array }> {
    const { nowait, noerror, except } = options;
    const reply = await this.call(
      id,
      { op: 'msgrcv', size, type, nowait, noerror, except },
      options,
    );
    if (!reply.ok) return reply;
    return ok({ type: reply.value.type ?? 0, text: reply.value.text ?? new Uint8Array() });
  }

  /** [semget(2)] */
  semget(key: number, nsems: number, options: GetOptions = {}): Answer<number> {
    const attributes = { nsems };
    const name = key === IPC_PRIVATE ? undefined : String(key);
    return this.#idOf(this.get('sem', name, { ...options, attributes }));
  }
  /** [semop(2), semtimedop(2)] All or nothing. */
  semop(id: number, ops: readonly SemOp[], options: WaitOptions = {}): Answer<IpcResult> {
    return this.call(id, { op: 'semop', ops: [...ops] }, options);
  }
  /** [semctl(2)] GETVAL, GETNCNT and GETZCNT give `value`, GETALL `values`. */
  semctl(
    id: number,
    command: Extract<IpcRequest, { op: 'semctl' }>['command'],
    num?: number,
    values?: readonly number[],
  ): Answer<IpcResult> {
    return this.call(id, { op: 'semctl', command, num, values: values && [...values] });
  }

  /** IPC_STAT of whatever it is. */
  async stat(id: number): Answer<IpcStat> {
    const reply = await this.call(id, { op: 'stat' });
    if (!reply.ok) return reply;
    return reply.value.stat ? ok(reply.value.stat) : fail('EBADMSG', 'no status in the answer');
  }
  /** IPC_RMID; also a queue, semaphore or fifo by its id. */
  async remove(id: number): Answer<undefined> {
    const reply = await this.call(id, { op: 'remove' });
    return reply.ok ? ok() : reply;
  }
  /** mq_unlink, sem_unlink, unlink of a fifo. */
  async unlink(type: 'mq' | 'psem' | 'fifo', name: string): Answer<undefined> {
    const found = await this.get(type, name);
    return found.ok ? this.remove(found.value.id) : found;
  }

  /** [mq_open(3)] */
  async mqOpen(
    name: string,
    flags: OpenFlags,
    options: GetOptions & { maxMessages?: number; messageBytes?: number } = {},
  ): Answer<PosixQueue> {
    const { maxMessages, messageBytes, ...rest } = options;
    const attributes = { maxMessages, messageBytes };
    const found = await this.get('mq', name, { ...rest, attributes });
    return found.ok ? this.#opened(found.value.id, flags, PosixQueue) : found;
  }
  /** [sem_open(3)] */
  async semOpen(
    name: string,
    options: GetOptions & { value?: number } = {},
  ): Answer<PosixSemaphore> {
    const { value, ...rest } = options;
    const found = await this.get('psem', name, { ...rest, attributes: { value } });
    return found.ok
      ? this.#opened(found.value.id, { read: true, write: true }, PosixSemaphore)
      : found;
  }

  /** [mkfifo(3)] EEXIST. */
  async mkfifo(path: string, mode = 0o600): Answer<undefined> {
    const made = await this.get('fifo', path, { create: true, exclusive: true, mode });
    return made.ok ? ok() : made;
  }
  /** Opens a fifo, which waits for the other side. [fifo(7)] ENOENT; ENXIO nobody reads, with `nonblock`. */
  async openFifo(path: string, flags: OpenFlags, options?: WaitOptions): Answer<IpcEnd> {
    const found = await this.get('fifo', path);
    return found.ok ? this.openFifoId(found.value.id, flags, options) : found;
  }
  /** The same by id, for a pipe that has no name. */
  openFifoId(id: number, flags: OpenFlags, options?: WaitOptions): Answer<IpcEnd> {
    return this.#opened(id, flags, IpcEnd, options);
  }
  /** A pipe without a name; others of the cluster open it by its id while it is open. [pipe(2)] */
  async pipe(): Answer<{ id: number; read: IpcEnd; write: IpcEnd }> {
    const made = await this.get('fifo', undefined, { create: true });
    if (!made.ok) return made;
    const { id } = made.value;
    // A reader that does not wait for its writer, then both as pipe(2) has them.
    const read = await this.openFifoId(id, { read: true, nonblock: true });
    if (!read.ok) return read;
    const write = await this.openFifoId(id, { write: true });
    if (!write.ok) return write;
    const blocking = await read.value.setNonblock(false);
    return blocking.ok ? ok({ id, read: read.value, write: write.value }) : blocking;
  }

  async #opened<T extends IpcEnd>(
    id: number,
    flags: OpenFlags,
    Kind: new (ipc: IpcSession, id: number, handle: number) => T,
    options?: WaitOptions,
  ): Answer<T> {
    const handle = ++this.#lastHandle;
    const { read = false, write = false, nonblock = false } = flags;
    const reply = await this.call(id, { op: 'open', handle, read, write, nonblock }, options);
    return reply.ok ? ok(new Kind(this, id, handle)) : reply;
  }
}
