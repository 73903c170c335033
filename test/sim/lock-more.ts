// More than plain locks, for the users of the lock manager in the simulation: locks under a lock, given up with it or
// before it, and owners of byte ranges. To the checker each resource under another, and each piece of bytes that is
// locked as one, is a resource of its own.
import { type Lock, type Lockspace, openRanges, type RangeOwner } from '@ssi/client';
import { fail, type LockGrant, type LockMode, ok, type Reply } from '@ssi/contracts';
import type { LockInput } from '@ssi/linearizability';
import type { SimRandom } from '@ssi/sim';

/** A lock, or a piece of a range, that somebody has or may have. */
export interface Claim {
  readonly name: string;
  readonly resource: string;
}
type Seen = Partial<LockGrant>;

export interface Recorder {
  readonly random: SimRandom;
  /** As long as somebody holds what he has. */
  hold(): Promise<void>;
  claim(name: string, resource: string): Claim;
  /** Refused for sure: it is no claim any more. */
  isClaimed(claim: Claim): boolean;
  record(claim: Claim, input: LockInput, call: () => Promise<Reply<Seen>>): Promise<Reply<Seen>>;
  release(claim: Claim, call: () => Promise<Reply<Seen>>): Promise<boolean>;
}

const timeoutMs = 2_000;
const modes: readonly LockMode[] = ['EX', 'PW', 'PR'];
const pieceBytes = 10;
const pieces = [[0], [1], [0, 1], [1, 0]] as const;

export interface Ending {
  /** Its holder cannot know what of these is held: only the end of the session ends it. Absent: all is known. */
  readonly unsure?: readonly Claim[];
  /** Held still. */
  readonly left?: Claim;
}
const known: Ending = {};

/** A lock under a held one: given up, or left for the end of that. */
export async function under(
  q: Recorder & { readonly space: Lockspace; readonly parent: Lock; readonly name: string },
): Promise<Ending> {
  const { random, space, parent, name } = q;
  const mode = random.pick(modes);
  const claim = q.claim(`${name}u`, `${parent.resource}/under`);
  const about = { owner: claim.name, resource: claim.resource };
  let lock: Lock | undefined;
  const got = await q.record(claim, { op: 'lock', ...about, mode }, async () => {
    const flags = ['VALBLK'] as const;
    const reply = await space.lock('under', mode, { flags, timeoutMs, parent });
    if (reply.ok) lock = reply.value;
    return reply;
  });
  if (!lock) return got.ok || q.isClaimed(claim) ? { unsure: [claim] } : known;
  const held = lock;
  await q.hold();
  if (random.chance(0.3)) return { left: claim };
  const done = await q.release(claim, () => unlocked(space.unlock(held)));
  return done ? known : { unsure: [claim] };
}

/** An owner of byte ranges takes a piece or two, changes what he wants of one, and gives all up. */
export async function bytesRound(
  q: Recorder & { readonly space: Lockspace; readonly resource: string; readonly name: string },
): Promise<Ending> {
  const { random, space, resource, name } = q;
  const opened = await openRanges(space, `${resource}.bytes`);
  if (!opened.ok) return { unsure: [] };
  const owner = opened.value;
  const held: { readonly claim: Claim; readonly start: number }[] = [];
  const unsure = (more: readonly Claim[] = []): Ending => ({
    unsure: [...held.map(({ claim }) => claim), ...more],
  });
  for (const piece of random.pick(pieces)) {
    const claim = q.claim(`${name}b${piece}`, `${resource}.bytes ${piece}`);
    const start = piece * pieceBytes;
    const got = await asked(q, claim, 'lock', { owner, start });
    if (got.ok) held.push({ claim, start });
    else if (q.isClaimed(claim)) return unsure([claim]);
    if (got.ok) await q.hold();
  }
  const [first] = held;
  if (first && random.chance(0.3)) {
    const done = await asked(q, first.claim, 'convert', { owner, start: first.start });
    if (!done.ok && done.errno !== 'EDEADLK') return unsure();
    await q.hold();
  }
  while (held.length > 0) {
    const { claim, start } = held[0] as (typeof held)[number];
    const none = { type: 'none', start, length: pieceBytes } as const;
    if (!(await q.release(claim, () => unlocked(owner.set(none))))) return unsure();
    held.shift();
  }
  const closed = await owner.close();
  return closed.ok ? known : unsure();
}

function asked(
  q: Recorder,
  { name, resource }: Claim,
  op: 'lock' | 'convert',
  { owner, start }: { readonly owner: RangeOwner; readonly start: number },
): Promise<Reply<Seen>> {
  const type = q.random.pick(['read', 'write'] as const);
  const mode = type === 'write' ? 'EX' : 'PR';
  return q.record({ name, resource }, { op, owner: name, resource, mode }, () =>
    unlocked(owner.set({ type, start, length: pieceBytes }, { timeoutMs })),
  );
}

const unlocked = async (call: Promise<Reply<undefined>>): Promise<Reply<Seen>> => {
  const reply = await call;
  return reply.ok ? ok({}) : fail(reply.errno, reply.detail);
};
