// One side of one way of calling, as a process of its own: `serve NAME NATS SAMPLE` or
// `call NAME ADDRESS SAMPLE`. A caller measures when it is told to, and tells its parent.
import { type Call, peers, type Sampling } from './peers.ts';

/** What a caller is asked for: how long, and how many calls at a time. */
export interface Round {
  readonly ms: number;
  readonly inFlight: number;
}

export interface Measured {
  readonly p50Us: number;
  readonly perSecond: number;
  readonly calls: number;
  /** CPU time of this side, us: what else runs on the machine changes it little. */
  readonly cpuUs: number;
}

const cpuUs = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

async function measure(call: Call, { ms, inFlight }: Round): Promise<Measured> {
  const took: number[] = [];
  let done = 0;
  const cpuBegan = cpuUs();
  const began = performance.now();
  const end = began + ms;
  const one = async (): Promise<void> => {
    for (let now = performance.now(); now < end; ) {
      await call();
      const after = performance.now();
      if (inFlight === 1) took.push(after - now);
      done++;
      now = after;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  const seconds = (performance.now() - began) / 1_000;
  took.sort((a, b) => a - b);
  const p50Us = (took[took.length >> 1] ?? 0) * 1_000;
  return { p50Us, perSecond: done / seconds, calls: done, cpuUs: cpuUs() - cpuBegan };
}

const [role, name = '', where = '', sampleText = ''] = process.argv.slice(2);
const peer = peers[name];
if (!peer) throw new Error(`no such peer: ${name}`);
const sample: Sampling = sampleText === '' ? undefined : Number(sampleText);
if (role === 'serve') {
  const address = await peer.serve(where, sample);
  process.on('message', () => process.send?.(cpuUs()));
  process.send?.(address);
} else {
  const call = await peer.client(JSON.parse(where), sample);
  process.on('message', async (round: Round) => process.send?.(await measure(call, round)));
  process.send?.('ready');
}
process.on('disconnect', () => process.exit(0));
