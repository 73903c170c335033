// Measured health of the interconnects: a node has one address on each, best first as configured; the
// n-th address of every node is on the n-th interconnect. Plain data in, plain data out.

/** Newest probe of one address of one peer, ms; undefined: did not answer. */
export type Health = ReadonlyMap<string, number | undefined>;

const key = (peer: number, index: number): string => `${peer}/${index}`;

export function measured(
  health: Health,
  q: { peer: number; index: number; rttMs: number | undefined },
): Health {
  const next = new Map(health);
  const k = key(q.peer, q.index);
  const last = health.get(k);
  const smoothed =
    q.rttMs === undefined || last === undefined ? q.rttMs : last + (q.rttMs - last) / 4;
  next.set(k, smoothed);
  return next;
}

export const withoutPeer = (health: Health, peer: number): Health =>
  new Map([...health].filter(([k]) => !k.startsWith(`${peer}/`)));

/**
 * Addresses of either end in the order in which the interconnects to this peer answer: measured ones by
 * round trip (in steps of a quarter millisecond, so that noise does not shuffle them), then those never
 * measured as configured, those that did not answer last. None is left out: the measurement may be old.
 */
export function ordered(addresses: readonly string[], health: Health, peer: number): string[] {
  const rank = (index: number): number => {
    const k = key(peer, index);
    if (!health.has(k)) return 1e6;
    const rtt = health.get(k);
    return rtt === undefined ? 1e9 : Math.floor(rtt * 4);
  };
  return addresses
    .map((address, index) => ({ address, index, rank: rank(index) }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map((a) => a.address);
}
