// Transitions of the view, each a function (view, what) -> view one transid later, or a refusal. The
// master runs them; a compare-and-set makes the result true. [OpenSSI CLMS: node states, transid]
import {
  fail,
  findMember,
  type Incarnation,
  type MemberId,
  type NodeFacts,
  type NodeState,
  ok,
  type Reply,
  sameIncarnation,
  talksIn,
  type View,
  type ViewMember,
} from '@ssi/contracts';
import { assigned } from './key-services.ts';

export const emptyView = (pidBits: 14 | 16): View => ({
  transid: 0,
  term: 0,
  master: 1,
  members: [],
  keyServices: {},
  pidBits,
});

export interface JoinRequest {
  readonly num: number;
  readonly name: string;
  readonly incarnation: Incarnation;
  readonly facts: NodeFacts;
}

function next(view: View, members: readonly ViewMember[], transid = view.transid + 1): View {
  const sorted = [...members].sort((a, b) => a.num - b.num);
  const after = { ...view, transid, members: sorted };
  return { ...after, keyServices: assigned(after) };
}

const replaced = (view: View, num: number, change: (m: ViewMember) => ViewMember): ViewMember[] =>
  view.members.map((m) => (m.num === num ? change(m) : m));

export const isMember = (view: View, id: MemberId): boolean => {
  const m = findMember(view, id.num);
  return m !== undefined && sameIncarnation(m.incarnation, id.incarnation) && talksIn(m.state);
};

/** A new life comes up. Idempotent for a life that is already in: the same view comes back. */
export function join(
  view: View,
  q: JoinRequest,
): Reply<View, 'EEXIST' | 'EAGAIN' | 'EINVAL' | 'ESTALE'> {
  const old = findMember(view, q.num);
  if (old && sameIncarnation(old.incarnation, q.incarnation)) {
    if (talksIn(old.state)) return ok(view);
    return fail('ESTALE', `node ${q.num}'s life ${q.incarnation.bootCount} is over`);
  }
  const limit = view.pidBits === 16 ? 63 : 255;
  if (q.facts.native && q.num > limit)
    return fail('EINVAL', `with pidBits ${view.pidBits} native nodes are 1..${limit}`);
  if (old && talksIn(old.state))
    return fail('EEXIST', `node number ${q.num} is in use by ${old.name}`);
  if (old && old.state !== 'DOWN')
    return fail('EAGAIN', `node ${q.num}'s former life is being cleaned up (${old.state})`);
  if (old && q.incarnation.bootCount <= old.incarnation.bootCount)
    return fail('ESTALE', `boot count must be above ${old.incarnation.bootCount}`);
  const { num, name, incarnation, facts } = q;
  const member: ViewMember = { num, name, incarnation, state: 'COMINGUP', facts };
  return ok(next(view, [...view.members.filter((m) => m.num !== num), member]));
}

/** COMINGUP to UP. EAGAIN: a former life of its is still cleaned up somewhere. */
export function ready(view: View, id: MemberId): Reply<View, 'EAGAIN' | 'ESTALE'> {
  const m = findMember(view, id.num);
  if (!m || !sameIncarnation(m.incarnation, id.incarnation) || !talksIn(m.state))
    return fail('ESTALE', `node ${id.num} is not a member with this incarnation`);
  if (m.state === 'UP') return ok(view);
  if (m.state !== 'COMINGUP') return fail('ESTALE', `node ${id.num} is ${m.state}`);
  return ok(
    next(
      view,
      replaced(view, id.num, (x) => ({ ...x, state: 'UP' })),
    ),
  );
}

/** A node announces that it goes. */
export function shutdown(view: View, id: MemberId): Reply<View, 'ESTALE'> {
  if (!isMember(view, id)) return fail('ESTALE', `node ${id.num} is not a member any more`);
  return ok(
    next(
      view,
      replaced(view, id.num, (x) => ({ ...x, state: 'SHUTDOWN' })),
    ),
  );
}

/** These lives are over: out of the quorum at once, their steps begin. Idempotent. */
export function nodedown(view: View, dead: readonly MemberId[]): View {
  const nums = dead.filter((d) => isMember(view, d)).map((d) => d.num);
  if (nums.length === 0) return view;
  const members = view.members.map((m) =>
    nums.includes(m.num) ? { ...m, state: 'KCLEANUP' as const } : m,
  );
  return next(view, members);
}

/** Progress of the steps of the dead: UCLEANUP when the kernel steps are done, DOWN when all are. */
export function cleanup(
  view: View,
  dead: readonly MemberId[],
  to: Extract<NodeState, 'KCLEANUP' | 'UCLEANUP' | 'DOWN'>,
  step?: ViewMember['step'],
): View {
  let changed = false;
  const members = view.members.map((m) => {
    const mine = dead.some((d) => d.num === m.num && sameIncarnation(d.incarnation, m.incarnation));
    if (!mine || talksIn(m.state) || m.state === 'DOWN') return m;
    changed = true;
    const { step: _, ...rest } = m;
    return step ? { ...rest, state: to, step } : { ...rest, state: to };
  });
  return changed ? next(view, members) : view;
}

/** The lives whose steps are not done. */
export const inCleanup = (view: View): MemberId[] =>
  view.members
    .filter((m) => m.state === 'KCLEANUP' || m.state === 'UCLEANUP' || m.state === 'GOINGDOWN')
    .map(({ num, incarnation }) => ({ num, incarnation }));

/**
 * Transids that a master may use beyond what a majority has applied: if it dies and the store forgets, its
 * views live on with it alone. The next term begins above them, so that no transid names two views.
 */
export const unheardMax = 16;

/** A new master's first view: its term, and the lives it knows to be over. */
export function takeover(
  view: View,
  q: { term: number; master: number; dead: readonly MemberId[] },
): View {
  const { members } = nodedown(view, q.dead);
  // The first of all has nobody before it; a term that was won and never heard of left a gap of its own.
  const transid = view.transid + (view.transid === 0 ? 1 : unheardMax * (q.term - view.term));
  return { ...next(view, members, transid), term: q.term, master: q.master };
}

export interface Transition {
  readonly num: number;
  readonly from: NodeState;
  readonly to: NodeState;
  readonly detail: string;
}

/** What changed between two views, by node number: the events of cluster_detailedtransition(3). */
export function transitions(before: View | undefined, after: View): Transition[] {
  const out: Transition[] = [];
  const former = new Map(before?.members.map((m) => [m.num, m]));
  for (const m of after.members) {
    const old = former.get(m.num);
    const same = old && sameIncarnation(old.incarnation, m.incarnation);
    const from: NodeState = same ? old.state : old ? 'DOWN' : 'NEVERUP';
    const step = m.step ? `step ${m.step.name} waits for ${m.step.waitingFor.join(', ')}` : '';
    if (from !== m.state || step)
      out.push({ num: m.num, from, to: m.state, detail: step || m.name });
  }
  if (before && before.master !== after.master) {
    const m = findMember(after, after.master);
    if (m)
      out.push({ num: m.num, from: m.state, to: m.state, detail: `master, term ${after.term}` });
  }
  return out;
}
