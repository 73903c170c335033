// The node map: which service of which node is reached where. Each node's router is the one authority
// for its own services; what others say of them is ignored. Plain data in, plain data out.
import {
  findMember,
  hash32,
  type MemberId,
  type ServiceEndpoint,
  sameIncarnation,
  talksIn,
  type View,
} from '@ssi/contracts';

/** Sorted by node and service. */
export type NodeMap = readonly ServiceEndpoint[];

/** Services of one node; a node has about ten. */
export const servicesMax = 64;

const order = (a: ServiceEndpoint, b: ServiceEndpoint): number =>
  a.node - b.node || (a.service < b.service ? -1 : a.service > b.service ? 1 : 0);

/** Puts one service of this node in, or in the place of its former life. */
export function withService(map: NodeMap, entry: ServiceEndpoint): NodeMap {
  const others = map.filter((e) => e.node !== entry.node || e.service !== entry.service);
  return [...others, entry].sort(order);
}

/** What a router tells of its own node replaces what was known of it; entries of other nodes are not its to tell. */
export function withNode(map: NodeMap, node: number, entries: NodeMap): NodeMap {
  const own = entries.filter((e) => e.node === node).slice(0, servicesMax);
  return [...map.filter((e) => e.node !== node), ...own].sort(order);
}

/** Only what belongs to a life of a node that the view still knows as one to talk to. */
export function inView(map: NodeMap, view: View, self: MemberId): NodeMap {
  return map.filter((e) => {
    if (e.node === self.num) return sameIncarnation(e.incarnation, self.incarnation);
    const member = findMember(view, e.node);
    return (
      member !== undefined &&
      talksIn(member.state) &&
      sameIncarnation(member.incarnation, e.incarnation)
    );
  });
}

/** Without the dead. */
export function withoutDead(map: NodeMap, dead: readonly MemberId[]): NodeMap {
  return map.filter(
    (e) => !dead.some((d) => d.num === e.node && sameIncarnation(d.incarnation, e.incarnation)),
  );
}

export const ofNode = (map: NodeMap, node: number): NodeMap => map.filter((e) => e.node === node);

/** Equal maps have equal digests; the counterpart costs 2^-64 a wrong guess, and the next change heals it. */
export function digest(map: NodeMap): string {
  const text = JSON.stringify(
    map.map((e) => [
      e.node,
      e.incarnation.bootCount,
      e.incarnation.bootId,
      e.service,
      e.bootId,
      e.tcp.map((t) => `${t.host}:${t.port}`),
    ]),
  );
  const hex = (n: number): string => n.toString(16).padStart(8, '0');
  return hex(hash32(text)) + hex(hash32(`${text.length}|${text}`));
}
