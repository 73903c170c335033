// A router that reaches two buses bridges them: finds out on which each node is, by asking its router there
// and here, and has what is meant for it carried. Absence on one bus is believed only with an answer on the
// other: a router that is being restarted stays where it was.
import { ics as contract, libraryInbox, ok, type Reply } from '@ssi/contracts';
import {
  connectBus,
  createIcs,
  type NatsBridge,
  natsBridge,
  natsTransport,
  type Side,
} from '@ssi/ics';
import { type Clock, type Log, type Random, sleep } from '@ssi/ports';

const askEveryMs = 500;
const answerMs = 400;

export interface Bridge {
  /** The nodes of the view; others are found when they ask something. */
  setMembers(nums: readonly number[]): void;
  close(): Promise<void>;
}

export interface BridgeOptions {
  readonly cluster: string;
  /** The router's own. */
  readonly node: number;
  /** URL of the bus that has the store, and of the other one. */
  readonly first: string;
  readonly second: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** EHOSTUNREACH, EACCES: the first answer of a bus; one that is away later is waited for. */
export async function openBridge(
  options: BridgeOptions,
): Promise<Reply<Bridge, 'EHOSTUNREACH' | 'EACCES'>> {
  const { cluster, clock, random, log } = options;
  const bootId = random.hex(8);
  const self = { node: 0, service: 'bridge', instance: bootId };
  const enter = (url: string) =>
    connectBus(url, `${cluster}.bridge`, {
      inboxPrefix: libraryInbox(cluster, self),
      noEcho: true,
    });
  const [first, second] = await Promise.all([enter(options.first), enter(options.second)]);
  if (!first.ok) return first;
  if (!second.ok) return second;
  const buses = { first: first.value, second: second.value };
  let homes: ReadonlyMap<number, Side> = new Map();
  let members: readonly number[] = [options.node];
  /** Heard of, whether in the view that is known here or not; few, as nodes have numbers. */
  const heardOf = new Set<number>();
  const bridge: NatsBridge = natsBridge({
    ...{ cluster, ...buses },
    onNode: (node) => heardOf.add(node),
  });
  const asking = { ...{ node: 0, service: 'bridge', bootId }, ...{ clock, random, log } };
  const ask = (side: Side) =>
    createIcs({
      ...asking,
      transports: [natsTransport({ connection: buses[side], cluster, self })],
    });
  const askers = { first: ask('first'), second: ask('second') };
  let closed = false;

  const isOn = async (node: number, side: Side): Promise<boolean | undefined> => {
    const reply = await askers[side].call(contract, 'status', node, {}, { timeoutMs: answerMs });
    return reply.ok ? true : reply.errno === 'EHOSTUNREACH' ? false : undefined;
  };
  const find = async (node: number): Promise<readonly [number, Side][]> => {
    const [here, there] = await Promise.all([isOn(node, 'first'), isOn(node, 'second')]);
    if (here && there === false) return [[node, 'first']];
    if (there && here === false) return [[node, 'second']];
    const before = homes.get(node);
    return before && !(here && there) ? [[node, before]] : [];
  };
  void (async () => {
    while (!closed) {
      const nodes = new Set([...members, ...heardOf]);
      const found = new Map((await Promise.all([...nodes].map(find))).flat());
      for (const [node, side] of found)
        if (homes.get(node) !== side) log.info('bridge: a node is on one bus', { node, side });
      homes = found;
      if (!closed) bridge.setHomes(found);
      await sleep(clock, askEveryMs);
    }
  })();

  return ok({
    setMembers: (nums) => {
      members = nums;
    },
    close: async () => {
      closed = true;
      bridge.close();
      for (const asker of Object.values(askers)) await asker.close();
      for (const connection of Object.values(buses)) await connection.close();
    },
  });
}
