// The objects of this node and the calls that wait in them. An object is here from the moment its name was
// given to this node until it is removed or the node ends; whoever asks for it meanwhile waits. [OpenSSI: IPC
// objects are created where they are asked for]
import {
  fail,
  type IpcAttributes,
  type IpcBinding,
  type IpcCred,
  type IpcErrno,
  type IpcInfo,
  type IpcPerm,
  type IpcResult,
  type ipc,
  type Reply,
  type RequestOf,
} from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { Settled } from './objects/call.ts';
import { isOpen } from './objects/end.ts';
import {
  giveUp,
  type IpcObject,
  newData,
  type Outcome,
  operate,
  ownerEnded,
} from './objects/object.ts';
import { stat } from './objects/stat.ts';
import { waitingIn } from './objects/waiting.ts';

type Operate = RequestOf<typeof ipc.ops.operate>;
export type Operated = Reply<IpcResult, IpcErrno | 'EREMCHG' | 'ESRCH'>;

interface Waiting {
  readonly owner: string;
  end(reply: Reply<IpcResult, IpcErrno>): void;
}
interface Entry {
  readonly object: IpcObject;
  readonly binding: IpcBinding;
  /** Of a private fifo nobody has opened yet: who is to. */
  readonly creator: string;
  readonly waiting: Map<number, Waiting>;
}

/** Sessions whose end is remembered, so that a call of theirs that comes late does nothing. */
const endedMax = 10_000;

export const ownerKey = (o: { node: number; session: string }): string => `${o.node}:${o.session}`;

export interface ManagerDeps {
  readonly clock: Clock;
  /** Tells the nameserver; resolves when it knows. */
  unbind(q: { id: number; perm?: IpcPerm; nameOnly?: boolean }): Promise<void>;
  tell(node: number, q: { session: string; handle: number }): void;
}

export class Manager {
  readonly #d: ManagerDeps;
  readonly #entries = new Map<number, Entry>();
  readonly #making = new Set<Promise<unknown>>();
  readonly #ended = new Set<string>();
  #endedCount = 0;
  #lastCall = 0;
  /** The greatest id heard of, and the newest nameserver that was answered. */
  lastId = 0;
  epoch = 0;

  constructor(deps: ManagerDeps) {
    this.#d = deps;
  }

  get size(): number {
    return this.#entries.size;
  }
  /** Sessions whose end it knows of. */
  get ended(): number {
    return this.#endedCount;
  }
  get waiting(): number {
    return [...this.#entries.values()].reduce((n, e) => n + waitingIn(e.object.data).length, 0);
  }
  has(id: number): boolean {
    return this.#entries.has(id);
  }
  /** By id, those after `after`. */
  bindings(after = 0): IpcBinding[] {
    const found = [...this.#entries.values()].filter((e) => e.object.id > after);
    found.sort((a, b) => a.object.id - b.object.id);
    // Without a name it is found by its id all the same.
    return found.map(({ object, binding: { name, ...rest } }) => ({
      ...rest,
      ...(!object.unlinked && name !== undefined && { name }),
      perm: object.perm,
    }));
  }
  list(type: string | undefined): IpcInfo[] {
    return this.bindings()
      .filter((b) => type === undefined || b.type === type)
      .map((b) => ({ ...b, stat: stat((this.#entries.get(b.id) as Entry).object) }));
  }

  /** While this runs, who asks for an object that is not here waits. */
  making<T>(work: Promise<T>): Promise<T> {
    this.#making.add(work);
    void work.finally(() => this.#making.delete(work));
    return work;
  }

  /** An object whose name was given to this node. Idempotent by its id. */
  install(binding: IpcBinding, attributes: IpcAttributes, cred: IpcCred, creator: string): void {
    this.lastId = Math.max(this.lastId, binding.id);
    if (this.#entries.has(binding.id)) return;
    const data = newData(binding.type, attributes, cred);
    if (!data.ok) throw new Error(`${binding.type} was given a name: ${data.detail}`);
    const { id, name, perm } = binding;
    const unlinked = binding.type === 'fifo' && name === undefined;
    const object = { id, perm, unlinked, data: data.value, ...(name !== undefined && { name }) };
    this.#entries.set(id, { object, binding, creator, waiting: new Map() });
  }

  async here(id: number): Promise<boolean> {
    if (!this.#entries.has(id)) await Promise.allSettled([...this.#making]);
    return this.#entries.has(id);
  }

  async operate(q: Operate, signal: AbortSignal): Promise<Operated> {
    if (!this.#entries.has(q.id) && this.#making.size > 0) await this.here(q.id);
    const entry = this.#entries.get(q.id);
    if (!entry) return fail('EREMCHG', `object ${q.id} is not here`);
    const { object, waiting } = entry;
    const { request } = q;
    const owner = ownerKey(q.owner);
    if (this.#ended.has(owner)) return fail('ESRCH', 'the session has ended');
    if (request.op === 'open' && object.unlinked && object.name !== undefined)
      return fail('EIDRM', 'its name is gone');
    const id = ++this.#lastCall;
    return new Promise<Operated>((done) => {
      const cancel = (errno: IpcErrno) => (): void => {
        const end = giveUp(object, id, errno);
        if (end) this.#settle(entry, { settled: [end] });
      };
      // [semop(2), mq_timedreceive(3)]
      const late = cancel(request.op === 'semop' ? 'EAGAIN' : 'ETIMEDOUT');
      const interrupted = cancel('EINTR');
      let timer: { cancel(): void } | undefined;
      waiting.set(id, {
        owner,
        end: (reply) => {
          timer?.cancel();
          signal.removeEventListener('abort', interrupted);
          done(reply);
        },
      });
      this.#settle(entry, operate(object, { id, owner, cred: q.cred }, request));
      if (!waiting.has(id)) return;
      if (signal.aborted) return interrupted();
      signal.addEventListener('abort', interrupted);
      if (q.waitMs !== undefined) timer = this.#d.clock.after(q.waitMs, late);
    });
  }

  /** Ends calls and does what else an outcome says; a name is gone when the nameserver knows. */
  #settle(entry: Entry, { settled, told, removed, gone, changed }: Outcome): void {
    const { object, binding } = entry;
    const { id } = object;
    if (gone) this.#entries.delete(id);
    const named = binding.name !== undefined;
    const known =
      removed || gone
        ? this.#d.unbind({ id, ...(!gone && named && { nameOnly: true }) })
        : changed
          ? this.#d.unbind({ id, perm: object.perm })
          : undefined;
    const [first, ...rest] = settled;
    if (known && first) void known.then(() => this.#end(entry, first));
    else if (first) this.#end(entry, first);
    for (const s of rest) this.#end(entry, s);
    if (told !== undefined) this.#tell(told);
  }

  #end({ waiting }: Entry, { id, reply }: Settled): void {
    const call = waiting.get(id);
    waiting.delete(id);
    call?.end(reply);
  }

  #tell(end: string): void {
    const [, node, session, handle] = /^(\d+):(\w+)#(\d+)$/.exec(end) ?? [];
    if (session) this.#d.tell(Number(node), { session, handle: Number(handle) });
  }

  /** A client is gone: undo, ends, calls. */
  ownerEnded(owner: string): void {
    this.#ended.add(owner);
    this.#endedCount++;
    const [oldest] = this.#ended;
    if (this.#ended.size > endedMax && oldest) this.#ended.delete(oldest);
    for (const entry of [...this.#entries.values()]) {
      const { object, creator, waiting } = entry;
      const calls = [...waiting].filter(([, w]) => w.owner === owner).map(([id]) => id);
      const outcome = ownerEnded(object, owner, calls);
      const neverOpened =
        object.unlinked &&
        creator === owner &&
        !('ends' in object.data && isOpen(object.data.ends));
      this.#settle(entry, neverOpened ? { ...outcome, gone: true } : outcome);
    }
  }

  /** Clients of nodes that died. */
  nodesEnded(nodes: ReadonlySet<number>): void {
    const owners = new Set<string>();
    for (const { object, waiting, creator } of this.#entries.values()) {
      const { data } = object;
      for (const w of waiting.values()) owners.add(w.owner);
      if ('ends' in data) for (const end of Object.values(data.ends)) owners.add(end.owner);
      if (data.kind === 'sem') for (const owner of Object.keys(data.undo)) owners.add(owner);
      owners.add(creator);
    }
    for (const owner of owners) if (nodes.has(Number(owner.split(':')[0]))) this.ownerEnded(owner);
  }
}
