// How fast programs start, and how long `ssi ps` takes over three nodes with a thousand processes: the
// command from its start to its end as a shell sees it, and in it the calls, by a client that has just
// connected. A bare Node that does nothing is told beside it, since every command pays for it.
import { execFile } from 'node:child_process';
import { connect, type Ssi } from '@ssi/client';
import { value } from '../harness/busy.ts';
import { canRunNative, cli, startCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { type Bench, quantile, type Row } from './report.ts';

const processes = 1_000;
const env = { PATH: '/usr/bin:/bin' };

async function timed(times: number, fn: () => Promise<unknown>): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await fn();
    took.push(performance.now() - began);
  }
  return took;
}

const command = (args: readonly string[], cluster: string): Promise<string> =>
  new Promise((done, failed) => {
    const options = { env: { ...process.env, SSI_CLUSTER: cluster }, maxBuffer: 64 * 2 ** 20 };
    execFile(process.execPath, [...args], options, (error, stdout) =>
      error ? failed(error) : done(stdout),
    );
  });

/** Programs that start and end at once, `lanes` at a time, on every node in turn. */
async function spawns(ssi: Ssi, count: number, lanes: number): Promise<number> {
  const began = performance.now();
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const argv = ['/bin/true'];
      const { pid } = value(
        await ssi.run({ argv, env, cwd: '/', node: (i % 3) + 1, noInput: true }),
      );
      value(await ssi.wait(pid, { timeoutMs: 30_000 }));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return (count * 1_000) / (performance.now() - began);
}

async function run({ quick }: { quick: boolean }): Promise<Row[]> {
  if (!canRunNative) throw new Error('this benchmark needs root, criu and the guard');
  const rounds = quick ? 5 : 30;
  const cluster = await startCluster();
  const ssi = value(await connect({ cluster: cluster.name }));
  try {
    await spawns(ssi, 6, 1); // warm
    const alone = await spawns(ssi, quick ? 20 : 200, 1);
    const together = await spawns(ssi, quick ? 60 : 600, 16);

    const script = `for ((i = 1; i < ${Math.ceil(processes / 3)}; i++)); do sleep 1000 & done; wait`;
    for (const node of [1, 2, 3])
      await ssi.run({ argv: ['/bin/bash', '-c', script], env, cwd: '/', node, noInput: true });
    const shown = async () => value(await ssi.ps()).processes.length >= processes;
    await waitUntil('a thousand processes', shown, 30_000, cluster.describe);

    const bare = await timed(rounds, () => command(['-e', '0'], cluster.name));
    const help = await timed(rounds, () => command([cli, '--help'], cluster.name));
    const ps = await timed(rounds, async () => {
      const lines = (await command([cli, 'ps'], cluster.name)).split('\n').length;
      if (lines < processes) throw new Error(`ssi ps shows ${lines} lines`);
    });
    const rpc: number[] = [];
    for (let i = 0; i < rounds; i++) {
      const fresh = value(await connect({ cluster: cluster.name }));
      rpc.push(...(await timed(1, async () => value(await fresh.ps()))));
      await fresh.close();
    }
    const [command50, rpc50] = [quantile(ps, 0.5), quantile(rpc, 0.5)];
    return [
      { name: 'start and end of a program, one at a time', value: alone, unit: 'per s' },
      { name: 'start and end of a program, 16 at a time', value: together, unit: 'per s' },
      { name: 'node -e 0, p50', value: quantile(bare, 0.5), unit: 'ms' },
      { name: 'ssi --help, p50', value: quantile(help, 0.5), unit: 'ms' },
      {
        ...{ name: `ssi ps, ${processes} processes, p50`, value: command50, unit: 'ms' },
        ...{ target: '<= 400 ms', met: command50 <= 400 },
      },
      { name: 'ssi ps, p90', value: quantile(ps, 0.9), unit: 'ms' },
      {
        ...{ name: 'the calls of it, p50', value: rpc50, unit: 'ms' },
        ...{ target: '<= 100 ms', met: rpc50 <= 100 },
      },
      { name: 'the calls of it, p90', value: quantile(rpc, 0.9), unit: 'ms' },
    ];
  } finally {
    await ssi.close();
    await cluster.stop();
  }
}

export const bench: Bench = {
  name: 'processes',
  title: 'programs started per second; ssi ps over three nodes',
  run,
};
