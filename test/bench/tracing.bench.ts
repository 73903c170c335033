// What tracing costs a call: our calls on direct TCP without tracing, in traces that are not kept, with one
// of a hundred kept, and with all kept. Each call is a trace of its own: a root, a client and a server span.
import { startNatsServer } from '../../libs/ports/test/nats-server.ts';
import { type Bench, median, type Row } from './report.ts';
import { byTurns, cpuPerCall, type Pair, ratios, startPair } from './rpc/pair.ts';
import type { Sampling } from './rpc/peers.ts';

const kinds: readonly (readonly [string, Sampling])[] = [
  ['without', undefined],
  ['unsampled', 0],
  ['1 % sampled', 0.01],
  ['all sampled', 1],
];

async function run({ quick }: { quick: boolean }): Promise<Row[]> {
  const pairs = new Map<string, Pair>();
  const servers = [];
  try {
    for (const [name, sample] of kinds) {
      // One bus each: pairs of one kind would be taken for two lives of one service.
      const nats = await startNatsServer();
      servers.push(nats);
      pairs.set(name, await startPair('ours on TCP', nats.url, sample));
    }
    const turns = quick ? 3 : 15;
    const results = await byTurns(pairs, turns, { ms: quick ? 250 : 500, inFlight: 256 });
    const rate = (name: string) => results.get(name)?.map((m) => m.perSecond) ?? [];
    const rows: Row[] = kinds.map(([name]) => ({
      ...{ name: `calls, ${name}`, value: median(rate(name)), unit: 'per s' },
    }));
    const cpu = (name: string) => cpuPerCall(results.get(name));
    for (const [name] of kinds)
      rows.push({ name: `CPU of a call, ${name}`, value: median(cpu(name)), unit: 'us' });
    for (const [name, most] of [
      ['unsampled', 3],
      ['1 % sampled', 5],
    ] as const) {
      const value = 100 * (1 - median(ratios(rate(name), rate('without'))));
      rows.push({
        ...{ name: `cost, ${name}`, value, unit: '%', target: `<= ${most} %` },
        met: value <= most,
      });
    }
    const all = median(rate('all sampled'));
    rows.push({
      ...{ name: 'traced calls', value: all, unit: 'per s', target: '>= 25,000' },
      met: all >= 25_000,
    });
    return rows;
  } finally {
    for (const pair of pairs.values()) await pair.close();
    for (const nats of servers) await nats.stop();
  }
}

export const bench: Bench = { name: 'tracing', title: 'cost of tracing, by turns', run };
