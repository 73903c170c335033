// A cluster at rest on a machine that has no time: every core is kept busy from outside and from inside
// the nodes, and nobody may be declared down for it. 10 minutes (`--quick`: 1), shipped defaults;
// SSI_BENCH_SECONDS says how long instead.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { connect } from '@ssi/client';
import { canRunNative, startCluster } from '../harness/cluster.ts';
import { MembershipLog } from './membership-log.ts';
import type { Bench } from './report.ts';

const nums = [1, 2, 3];
const busy = ['/bin/sh', '-c', 'while :; do :; done'] as const;

export const bench: Bench = {
  name: 'load',
  title: 'full load on every core: nobody is declared down (3 nodes)',
  async run({ quick, log }) {
    if (!canRunNative) throw new Error('needs root, criu and the guard: see ssi doctor');
    const seconds = Number(process.env.SSI_BENCH_SECONDS ?? (quick ? 60 : 600));
    const cluster = await startCluster();
    const [command, ...args] = busy;
    const burners = Array.from({ length: availableParallelism() }, () =>
      spawn(command, args, { stdio: 'ignore' }),
    );
    try {
      const opened = await connect({ cluster: cluster.name });
      if (!opened.ok) throw new Error(opened.detail);
      for (const node of nums) {
        const started = await opened.value.run({ argv: [...busy], env: {}, cwd: '/', node });
        if (!started.ok) throw new Error(`${started.errno} ${started.detail}`);
      }
      await opened.value.close();
      const logs = nums.map((n) => MembershipLog.of(cluster.name, n));
      for (const l of logs) l.read();
      log(`${burners.length} busy programs beside the nodes and one in each, ${seconds} s`);
      await new Promise((done) => setTimeout(done, seconds * 1_000));
      const lines = logs.map((l) => l.read());
      const down = new Set(
        lines.flat().flatMap((l) => (l.to === 'KCLEANUP' ? [`${l.num} of ${l.transid}`] : [])),
      );
      const terms = new Set(lines.flat().flatMap((l) => (l.text === 'master' ? [l.term] : [])));
      const froze = lines.map((l) => l.filter((x) => x.text === 'lease lapsed').length);
      const note = `${seconds} s`;
      return [
        { name: 'false DOWN', value: down.size, unit: '', target: '0', met: down.size === 0, note },
        ...nums.map((n, i) => {
          const value = froze[i] ?? 0;
          const name = `spurious freezes of node ${n}`;
          return { name, value, unit: '', target: '<= 1', met: value <= 1, note };
        }),
        { name: 'masters chosen anew', value: terms.size, unit: '', note },
      ];
    } finally {
      for (const b of burners) b.kill('SIGKILL');
      await cluster.stop();
    }
  },
};
