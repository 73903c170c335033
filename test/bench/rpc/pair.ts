// A server and a client process of one way of calling, and rounds of several pairs by turns: A B A B, so
// that what else happens on the machine hits all of them, and ratios are taken within a turn.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Address, Sampling } from './peers.ts';
import type { Measured, Round } from './process.ts';

const program = fileURLToPath(new URL('process.ts', import.meta.url));

export interface Pair {
  /** CPU time is that of both sides. */
  measure(round: Round): Promise<Measured>;
  close(): Promise<void>;
}

async function heard<T>(child: ChildProcess): Promise<T> {
  const ended = new AbortController();
  const message = once(child, 'message', { signal: ended.signal });
  const end = once(child, 'exit', { signal: ended.signal });
  try {
    return await Promise.race([
      message.then(([m]) => m as T),
      end.then(([code]) => Promise.reject(new Error(`a process of the benchmark ended: ${code}`))),
    ]);
  } finally {
    ended.abort();
    message.catch(() => {});
    end.catch(() => {});
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = once(child, 'exit');
  child.disconnect();
  await end;
}

export async function startPair(name: string, nats: string, sample?: Sampling): Promise<Pair> {
  const part = sample === undefined ? '' : String(sample);
  const profile = (role: string): string[] =>
    process.env.BENCH_PROFILE === name ? ['--cpu-prof', `--cpu-prof-name=${role}.cpuprofile`] : [];
  const server = fork(program, ['serve', name, nats, part], { execArgv: profile('server') });
  const address = await heard<Address>(server);
  const client = fork(program, ['call', name, JSON.stringify(address), part], {
    execArgv: profile('client'),
  });
  await heard(client);
  return {
    measure: async (round) => {
      const serverCpuUs = (): Promise<number> => {
        server.send('cpu');
        return heard<number>(server);
      };
      const before = await serverCpuUs();
      client.send(round);
      const measured = await heard<Measured>(client);
      return { ...measured, cpuUs: measured.cpuUs + (await serverCpuUs()) - before };
    },
    close: async () => {
      await stop(client);
      await stop(server);
    },
  };
}

/** Of the first turn: until the code of every pair is compiled. With less the first pair measured looks slow. */
const warmMs = 2_000;

/** Results by pair, one for each turn. The first turn warms up and does not count. */
export async function byTurns(
  pairs: ReadonlyMap<string, Pair>,
  turns: number,
  round: Round,
): Promise<Map<string, Measured[]>> {
  const results = new Map<string, Measured[]>([...pairs.keys()].map((name) => [name, []]));
  for (let turn = 0; turn <= turns; turn++)
    for (const [name, pair] of pairs) {
      const measured = await pair.measure(turn === 0 ? { ...round, ms: warmMs } : round);
      if (turn > 0) results.get(name)?.push(measured);
    }
  return results;
}

/** CPU time of both sides for one call, us. */
export const cpuPerCall = (all: readonly Measured[] = []): number[] =>
  all.map((m) => m.cpuUs / m.calls);

/** One figure of `a` over that of `b`, turn by turn. */
export const ratios = (a: readonly number[], b: readonly number[]): number[] =>
  a.map((value, i) => value / (b[i] ?? Number.NaN));
