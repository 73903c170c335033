// The nameserver's table: which name is which object, and where that is. Lookup-or-create is one step. It can
// be made anew at any time from what the managers say they have; an id is never used twice. Plain data, one
// epoch (the transid of the view that named this nameserver) for its whole life.
import {
  fail,
  type IpcBinding,
  type IpcCred,
  type ipc,
  ok,
  type Reply,
  type ReplyOf,
  type RequestOf,
} from '@ssi/contracts';
import { checkName, nameKey } from './key.ts';
import { permits } from './objects/call.ts';

/** [msgget(2): MSGMNI; per type] */
export const objectsMax = 32_000;
const idsPerEpoch = 2 ** 24;

export interface ObjectTable {
  readonly epoch: number;
  /** The last id given, of this epoch. */
  lastId: number;
  readonly byId: Map<number, IpcBinding>;
  readonly byName: Map<string, number>;
}

/** `lastId`: the greatest id that may have been given out; those of other epochs do not matter. */
export function newTable(epoch: number, lastId = 0): ObjectTable {
  const before = Math.floor(lastId / idsPerEpoch) === epoch ? lastId : epoch * idsPerEpoch;
  return { epoch, lastId: before, byId: new Map(), byName: new Map() };
}

export function bind(t: ObjectTable, b: IpcBinding): void {
  unbind(t, b.id);
  t.byId.set(b.id, b);
  if (b.name !== undefined) t.byName.set(nameKey(b.type, b.name), b.id);
}

/** What it was; `nameOnly`: it goes on without a name. */
export function unbind(t: ObjectTable, id: number, nameOnly = false): IpcBinding | undefined {
  const b = t.byId.get(id);
  if (!b) return undefined;
  t.byId.delete(id);
  if (b.name !== undefined && t.byName.get(nameKey(b.type, b.name)) === id)
    t.byName.delete(nameKey(b.type, b.name));
  if (nameOnly) t.byId.set(id, (({ name: _, ...rest }) => rest)(b));
  return b;
}

/** An object that was given away to a manager that is gone. */
export function drop(t: ObjectTable, lost: (b: IpcBinding) => boolean): IpcBinding[] {
  const gone = [...t.byId.values()].filter(lost);
  for (const b of gone) unbind(t, b.id);
  return gone;
}

type Lookup = RequestOf<typeof ipc.ops.lookup>;
type Found = Omit<ReplyOf<typeof ipc.ops.lookup>, 'epoch'>;
type LookupErrno = 'EACCES' | 'EEXIST' | 'EINVAL' | 'ENAMETOOLONG' | 'ENOENT' | 'ENOSPC';

/** The nine bits as one asks for them: whichever of the three groups has them. [linux: ipcperms] */
const asked = (mode: number): number => ((mode >> 6) | (mode >> 3) | mode) & 6;

/** The object of that name; undefined: there is none, and a miss is known only when all managers have answered. */
export function find(t: ObjectTable, q: Pick<Lookup, 'type' | 'name'>): IpcBinding | undefined {
  const id = q.name === undefined ? undefined : t.byName.get(nameKey(q.type, q.name));
  return id === undefined ? undefined : t.byId.get(id);
}

export function lookupOrCreate(t: ObjectTable, q: Lookup, node: number): Reply<Found, LookupErrno> {
  const named = q.name === undefined ? ok() : checkName(q.type, q.name);
  if (!named.ok) return named;
  const there = find(t, q);
  if (there) return existing(there, q, node);
  if (q.name !== undefined && !q.create) return fail('ENOENT', `there is no ${q.type} ${q.name}`);
  const repeated = q.name === undefined && [...t.byId.values()].find((b) => made(b, q, node));
  if (repeated) return ok({ binding: repeated, created: true });
  if (q.type === 'sem' && (q.nsems ?? 0) < 1) return fail('EINVAL', 'a set has semaphores');
  if (t.byId.size >= objectsMax || t.lastId + 1 >= (t.epoch + 1) * idsPerEpoch)
    return fail('ENOSPC', `there are ${t.byId.size} objects`);
  const binding: IpcBinding = {
    id: ++t.lastId,
    type: q.type,
    ...(q.name !== undefined && { name: q.name }),
    ...{ node, bootId: q.bootId, perm: newPerm(q.cred, q.mode), madeBy: q.madeBy },
    ...(q.type === 'sem' && { nsems: q.nsems }),
  };
  bind(t, binding);
  return ok({ binding, created: true });
}

const newPerm = ({ uid, gid }: IpcCred, mode: number) => ({ uid, gid, cuid: uid, cgid: gid, mode });

const made = (b: IpcBinding, q: Lookup, node: number): boolean =>
  b.node === node && b.bootId === q.bootId && b.madeBy === q.madeBy;

function existing(b: IpcBinding, q: Lookup, node: number): Reply<Found, LookupErrno> {
  if (made(b, q, node)) return ok({ binding: b, created: true });
  if (q.create && q.exclusive) return fail('EEXIST', `there is a ${q.type} ${q.name}`);
  // Of POSIX objects and fifos opening asks for rights, not finding.
  if ((q.type === 'msg' || q.type === 'sem') && !permits(b.perm, q.cred, asked(q.mode)))
    return fail('EACCES', `mode ${b.perm.mode.toString(8)} does not allow it`);
  if (q.type === 'sem' && (q.nsems ?? 0) > (b.nsems ?? 0))
    return fail('EINVAL', `the set has ${b.nsems} semaphores`);
  return ok({ binding: b, created: false });
}
