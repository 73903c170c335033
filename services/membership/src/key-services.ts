// Who serves each key service: pure, a part of every transition. One that is served stays where it is;
// one whose node died goes to another only when the steps of that death are done. [CI: key services]
import {
  activeInstance,
  fail,
  findMember,
  type KeyService,
  ok,
  type Reply,
  rendezvous,
  upMembers,
  type View,
} from '@ssi/contracts';

type Keys = View['keyServices'];

/** UP nodes that can run it. */
export const offering = (view: View, name: string): number[] =>
  upMembers(view)
    .filter((m) => m.facts.keyServices?.includes(name))
    .map((m) => m.num);

/** The node with the fewest of them; of equals the same for everyone who asks. */
function place(view: View, keys: Keys, name: string, but?: number): number | undefined {
  const served = (num: number): number => Object.values(keys).filter((k) => k.num === num).length;
  const nums = offering(view, name).filter((n) => n !== but);
  const least = Math.min(...nums.map(served));
  return rendezvous(
    name,
    nums.filter((n) => served(n) === least),
  );
}

/** The key services of a view whose members have just changed. */
export function assigned(view: View): Keys {
  const names = new Set([
    ...Object.keys(view.keyServices),
    ...upMembers(view).flatMap((m) => m.facts.keyServices ?? []),
  ]);
  const keys: Record<string, KeyService> = {};
  const open: string[] = [];
  for (const name of [...names].sort()) {
    const now = view.keyServices[name];
    // Also where its node is on the way out: nobody is active until the steps are done.
    if (now && findMember(view, now.num)?.state !== 'DOWN') keys[name] = now;
    else open.push(name);
  }
  for (const name of open) {
    const num = place(view, keys, name);
    if (num !== undefined) keys[name] = { num, since: view.transid };
  }
  return keys;
}

/** One transid later: `to` is asked for, the active instance is to stand down. */
export function handover(
  view: View,
  q: { name: string; to?: number },
): Reply<View, 'ENOENT' | 'EINVAL' | 'EAGAIN'> {
  const now = view.keyServices[q.name];
  if (!now) return fail('ENOENT', `no key service ${q.name}`);
  const able = offering(view, q.name);
  if (q.to !== undefined && !able.includes(q.to))
    return fail('EINVAL', `node ${q.to} cannot run ${q.name}; these can: ${able.join(' ')}`);
  if (q.to === now.num) return ok(view);
  if (now.to !== undefined || !activeInstance(view, q.name))
    return fail('EAGAIN', `${q.name} is on its way already`);
  const to = q.to ?? place(view, view.keyServices, q.name, now.num);
  if (to === undefined) return fail('EAGAIN', `no other node can run ${q.name}`);
  const transid = view.transid + 1;
  return ok({ ...view, transid, keyServices: { ...view.keyServices, [q.name]: { ...now, to } } });
}

/** The instance of epoch `since` stood down, or did not: either way a new epoch begins. */
export function settled(view: View, q: { name: string; since: number; stoodDown: boolean }): View {
  const now = view.keyServices[q.name];
  // Its node died meanwhile: the steps come first.
  if (now?.since !== q.since || !activeInstance(view, q.name)) return view;
  const taken = q.stoodDown && now.to !== undefined && offering(view, q.name).includes(now.to);
  const transid = view.transid + 1;
  const num = taken ? (now.to ?? now.num) : now.num;
  return {
    ...view,
    transid,
    keyServices: { ...view.keyServices, [q.name]: { num, since: transid } },
  };
}
