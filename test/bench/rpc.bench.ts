// What a call costs: ours, with view, reply cache, priorities and unsampled tracing on, beside the bus's own
// request(), a framework on the same bus, and a bare echo. 128-byte bodies, each side a process.
import { startNatsServer } from '../../libs/ports/test/nats-server.ts';
import { type Bench, median, type Row } from './report.ts';
import { byTurns, cpuPerCall, type Pair, ratios, startPair } from './rpc/pair.ts';
import { peers } from './rpc/peers.ts';

const inFlight = 256;

async function run({ quick }: { quick: boolean }): Promise<Row[]> {
  const nats = await startNatsServer();
  const pairs = new Map<string, Pair>();
  try {
    for (const name of Object.keys(peers))
      pairs.set(name, await startPair(name, nats.url, name.startsWith('ours') ? 0 : undefined));
    const turns = quick ? 3 : 9;
    const ms = quick ? 250 : 600;
    const single = await byTurns(pairs, turns, { ms, inFlight: 1 });
    const many = await byTurns(pairs, turns, { ms, inFlight });
    const p50 = (name: string) => single.get(name)?.map((m) => m.p50Us) ?? [];
    const rate = (name: string) => many.get(name)?.map((m) => m.perSecond) ?? [];

    const rows: Row[] = [...pairs.keys()].flatMap((name) => [
      { name: `${name}: p50`, value: median(p50(name)), unit: 'us' },
      { name: `${name}: ${inFlight} in flight`, value: median(rate(name)), unit: 'per s' },
      { name: `${name}: CPU of a call`, value: median(cpuPerCall(many.get(name))), unit: 'us' },
    ]);
    const ratio = (name: string, value: number, target: string, met: boolean): void =>
      void rows.push({ name, value, unit: 'x', target, met });
    const onNats = median(ratios(p50('ours on NATS'), p50('nats.js request()')));
    ratio('p50, ours on NATS / request()', onNats, '<= 1', onNats <= 1);
    const framework = median(ratios(rate('ours on NATS'), rate('moleculer on NATS')));
    ratio('throughput, ours on NATS / moleculer', framework, '>= 1.8', framework >= 1.8);
    const direct = median(ratios(p50('ours on TCP'), p50('raw TCP echo')));
    ratio('p50, ours on TCP / raw echo', direct, '<= 2', direct <= 2);
    const perSecond = median(rate('ours on TCP'));
    rows.push({
      ...{ name: 'throughput, ours on TCP', value: perSecond, unit: 'per s' },
      ...{ target: '>= 100,000', met: perSecond >= 100_000 },
    });
    return rows;
  } finally {
    for (const pair of pairs.values()) await pair.close();
    await nats.stop();
  }
}

export const bench: Bench = {
  name: 'rpc',
  title: 'calls with 128-byte bodies, one at a time and 256 in flight, by turns',
  run,
};
