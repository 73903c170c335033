// The tree with its log: a mutation is in the log before it has an effect, and its request id with it, so that
// a client which asks again (after a crash, at a successor) gets the answer of the first time and nothing is
// done twice. [design: sections 5 and 10]
import { type CfsErrno, type CfsMutation, fail, ok, type Reply } from '@ssi/contracts';
import { type Lock, LockTable } from '@ssi/fuse';
import { emptyTree, type Outcome, type Tree } from './dentry.ts';
import type { Inode, Time } from './inode.ts';
import { apply } from './mutation.ts';
import type { Journal } from './ports.ts';
import { decodeRecords, encodeRecord } from './record.ts';

/** Names a request for good: ids of one client grow by one. */
export interface RequestId {
  /** A client's boot: another one after it was started again. */
  readonly client: string;
  readonly id: number;
  /** The client has the answers of all ids up to this one. */
  readonly acknowledged: number;
}

/** Answers that one client may leave unacknowledged. */
export const repliesMax = 4_096;
const format = 1;

interface Client {
  acknowledged: number;
  readonly replies: Map<number, Outcome>;
}

/** As it was checked when it came in; a record's checksum says that it is still that. */
interface Logged {
  readonly seq: number;
  readonly request: RequestId;
  readonly mutation: CfsMutation;
}

interface Snapshot {
  readonly format: number;
  readonly filesystem: string;
  readonly seq: number;
  readonly next: number;
  readonly inodes: readonly Inode[];
  readonly names: readonly (readonly [number, readonly (readonly [string, number])[]])[];
  readonly locks?: readonly (readonly [string, readonly Lock[]])[];
  readonly clients: readonly (readonly [string, number, readonly (readonly [number, Outcome])[]])[];
}

/** What opening found. */
export interface Opened {
  readonly store: Store;
  /** Mutations replayed from the log. */
  readonly replayed: number;
  /** bytes at the log's end that were no whole record: a crash in the middle of one, and never acknowledged. */
  readonly droppedBytes: number;
}

export class Store {
  readonly tree: Tree;
  readonly #journal: Journal;
  readonly #filesystem: string;
  readonly #clients = new Map<string, Client>();
  #seq = 0;
  #length = 0;

  private constructor(journal: Journal, filesystem: string, tree: Tree) {
    this.#journal = journal;
    this.#filesystem = filesystem;
    this.tree = tree;
  }

  /**
   * Opens what the journal holds, or begins a file system in an empty one. ESTALE: it is another file
   * system's. EIO: its snapshot or a record is not what this version wrote; `ssi fs check` is to look at it.
   */
  static open(
    journal: Journal,
    filesystem: string,
    at: Time,
  ): Reply<Opened, 'ESTALE' | 'EIO' | 'ENOSPC'> {
    const { snapshot, log } = journal.read();
    if (snapshot.length === 0) {
      if (log.length > 0)
        return fail('EIO', 'there is a log, but the snapshot that it follows is gone');
      const store = new Store(journal, filesystem, emptyTree(at));
      const begun = store.checkpoint();
      return begun.ok ? ok({ store, replayed: 0, droppedBytes: 0 }) : begun;
    }
    const [state] = decodeRecords(snapshot).values as (Snapshot | undefined)[];
    if (state?.format !== format)
      return fail('EIO', 'the snapshot is damaged, or of another version');
    if (state.filesystem !== filesystem)
      return fail('ESTALE', `this store is of file system ${state.filesystem}, not ${filesystem}`);
    const store = new Store(journal, filesystem, treeOf(state));
    store.#adopt(state);
    const { values, length } = decodeRecords(log);
    let replayed = 0;
    for (const record of values as readonly Logged[]) {
      // A crash between a snapshot and the emptying of its log leaves what the snapshot has already.
      if (record.seq <= store.#seq) continue;
      if (record.seq !== store.#seq + 1)
        return fail('EIO', `record ${record.seq} follows ${store.#seq}`);
      store.#do(record.request, record.mutation);
      replayed++;
    }
    store.#length = length;
    if (length < log.length) {
      const cut = journal.truncate(length);
      if (!cut.ok) return cut;
    }
    return ok({ store, replayed, droppedBytes: log.length - length });
  }

  /**
   * Runs a mutation once, however often it is asked for. EAGAIN: too many answers are not acknowledged. ESTALE:
   * its answer was acknowledged. ENOSPC, EIO: the log could not take it, and nothing has changed.
   */
  execute(r: RequestId, mutation: CfsMutation): Outcome {
    const known = this.#clients.get(r.client);
    const before = known?.replies.get(r.id);
    if (before) return before;
    if (known && r.id <= known.acknowledged) return fail('ESTALE', `${r.id} was acknowledged`);
    if (known && known.replies.size >= repliesMax && r.acknowledged <= known.acknowledged)
      return fail('EAGAIN', `${repliesMax} answers of ${r.client} are not acknowledged`);
    const record = encodeRecord({ seq: this.#seq + 1, request: r, mutation });
    const written = this.#journal.append(record);
    if (!written.ok) {
      // What came of it in part would hide what is written after it.
      const cut = this.#journal.truncate(this.#length);
      return cut.ok ? written : cut;
    }
    this.#length += record.length;
    return this.#do(r, mutation);
  }

  /** The answer of a request that ran before. */
  answer(r: RequestId): Outcome | undefined {
    return this.#clients.get(r.client)?.replies.get(r.id);
  }

  /** A mutation of the server itself: in the log as any other. */
  own(mutation: CfsMutation): Outcome {
    const id = this.#seq + 1;
    return this.execute({ client: 'server', id, acknowledged: id - 1 }, mutation);
  }

  /** Whoever made requests, has something open or holds a lock. */
  get clients(): readonly string[] {
    const names = new Set(this.#clients.keys());
    for (const inode of this.tree.inodes.values()) for (const c of inode.openBy) names.add(c);
    for (const table of this.tree.locks.values())
      for (const lock of table.held) names.add(String(lock.owner).split(' ')[0] ?? '');
    names.delete('server');
    return [...names].sort();
  }

  /** On disk is what was executed before. [fsync(2)] */
  sync(): Reply<undefined, CfsErrno> {
    return this.#journal.sync();
  }

  /** Writes the whole tree, and empties the log. */
  checkpoint(): Reply<undefined, 'ENOSPC' | 'EIO'> {
    const written = this.#journal.snapshot(encodeRecord(this.#state()));
    if (written.ok) this.#length = 0;
    return written;
  }

  /** bytes of the log: when to make a checkpoint. */
  get logBytes(): number {
    return this.#length;
  }

  #do(r: RequestId, mutation: CfsMutation): Outcome {
    this.#seq++;
    const outcome = apply(this.tree, mutation);
    let client = this.#clients.get(r.client);
    if (!client) {
      client = { acknowledged: 0, replies: new Map() };
      this.#clients.set(r.client, client);
    }
    client.acknowledged = Math.max(client.acknowledged, r.acknowledged);
    for (const id of client.replies.keys())
      if (id <= client.acknowledged) client.replies.delete(id);
      else break;
    client.replies.set(r.id, outcome);
    // Its client is gone for good: so are its answers, but for this one.
    if (mutation.op === 'forget' && mutation.client !== r.client)
      this.#clients.delete(mutation.client);
    return outcome;
  }

  #state(): Snapshot {
    return {
      format,
      filesystem: this.#filesystem,
      seq: this.#seq,
      next: this.tree.next,
      inodes: [...this.tree.inodes.values()],
      names: [...this.tree.names].map(([ino, names]) => [ino, [...names]]),
      locks: [...this.tree.locks].map(([key, table]) => [key, table.held]),
      clients: [...this.#clients].map(([name, c]) => [name, c.acknowledged, [...c.replies]]),
    };
  }

  #adopt(state: Snapshot): void {
    this.#seq = state.seq;
    for (const [name, acknowledged, replies] of state.clients)
      this.#clients.set(name, { acknowledged, replies: new Map(replies) });
  }
}

const treeOf = (state: Snapshot): Tree => ({
  inodes: new Map(state.inodes.map((inode) => [inode.ino, inode])),
  names: new Map(state.names.map(([ino, names]) => [ino, new Map(names)])),
  locks: new Map((state.locks ?? []).map(([key, held]) => [key, tableOf(held)])),
  next: state.next,
});

function tableOf(held: readonly Lock[]): LockTable {
  const table = new LockTable();
  for (const lock of held) table.set(lock);
  return table;
}
