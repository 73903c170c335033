// mh: Maglev hashing. Each server has a list of preferences over all places of a table, and the servers take
// turns, as many as their weights say, until the table is full.
// [Eisenbud et al., Maglev, NSDI 2016, 3.4; net/netfilter/ipvs/ip_vs_mh.c]
import { type Candidate, takesNew } from '../candidate.ts';
import { commonDivisor } from './round-robin.ts';
import type { Flow, Scheduler, SchedulerOptions } from './scheduler.ts';
import { hsiphash } from './siphash.ts';

/**
 * Prime: then every preference list meets every place. CONFIG_IP_VS_MH_TAB_INDEX 16: with its default, 4,093, up to 9 %
 * of the others' flows move when one of 20 servers leaves; with these 0.4 %.
 */
export const maglevPlaces = 65_521;
/** Weights above 256 times their common divisor are made coarser. [IP_VS_MH_TAB_BITS] */
const turnBits = 8;

const offsetKey = { k0: 2_654_435_761n, k1: 2_654_435_761n };
const skipKey = { k0: 2_654_446_892n, k1: 2_654_446_892n };

export const addressNumber = (address: string): number =>
  address.split('.').reduce((n, byte) => n * 256 + Number(byte), 0);

/** For each place the index of its server; empty if no weight is above 0. */
export function maglevTable(
  servers: readonly { readonly address: string; readonly port: number; readonly weight: number }[],
  places = maglevPlaces,
): Int32Array {
  const weights = servers.map((s) => s.weight);
  const divisor = commonDivisor(weights);
  if (divisor === 0) return new Int32Array(0);
  const most = Math.max(...weights) / divisor;
  const coarser = 2 ** Math.max(0, Math.floor(Math.log2(most)) + 1 - turnBits);
  const takers = servers.flatMap(({ address, port, weight }, index) => {
    const key = addressNumber(address) + port;
    return {
      index,
      next: hsiphash(key, offsetKey) % places,
      skip: (hsiphash(key, skipKey) % (places - 1)) + 1,
      turns: weight === 0 ? 0 : Math.max(1, Math.floor(weight / divisor / coarser)),
    };
  });
  const table = new Int32Array(places).fill(-1);
  for (let taken = 0; ; )
    for (const taker of takers)
      for (let turn = 0; turn < taker.turns; turn++) {
        while (table[taker.next] !== -1) taker.next = (taker.next + taker.skip) % places;
        table[taker.next] = taker.index;
        if (++taken === places) return table;
      }
}

export function maglev({ flags }: SchedulerOptions): Scheduler {
  let list: readonly Candidate[] = [];
  let table: Int32Array = new Int32Array(0);
  /** A quiesced server keeps its places, so that its clients find it again: the last weight above 0 counts. */
  let lastWeights = new Map<string, number>();
  const key = (flow: Flow): number =>
    flow.client + (flags.includes('mh-port') ? flow.clientPort : 0);
  const at = (value: number): Candidate | undefined => {
    const c = list[table[hsiphash(value, offsetKey) % table.length] ?? -1];
    return c && takesNew(c) ? c : undefined;
  };
  return {
    changed(candidates) {
      const weights = candidates.map(({ server }): [string, number] => {
        const name = `${server.address}:${server.port}`;
        return [name, server.weight || (lastWeights.get(name) ?? 0)];
      });
      lastWeights = new Map(weights);
      list = candidates;
      table = maglevTable(
        candidates.map(({ server }, i) => ({ ...server, weight: weights[i]?.[1] ?? 0 })),
      );
    },
    pick(flow) {
      const found = at(key(flow));
      if (found || !flags.includes('mh-fallback') || !list.some(takesNew)) return found;
      const first = hsiphash(key(flow), offsetKey) % table.length;
      for (let offset = 0; offset < table.length; offset++) {
        const other = at(key(flow) + ((first + offset) % table.length));
        if (other) return other;
      }
      return undefined;
    },
  };
}
