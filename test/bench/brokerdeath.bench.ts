// SIGKILL of a node together with the broker on it, which leads the key that holds the view (three
// nats-servers, three replicas), until every survivor has the view without it; and whether the survivors'
// programs are there after it, as the same processes.
import { connect } from '@ssi/client';
import { canRunNative, startCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { Brokers } from './brokers.ts';
import { MembershipLog } from './membership-log.ts';
import type { Bench, Row } from './report.ts';

const nums = [1, 2, 3];

export const bench: Bench = {
  name: 'brokerdeath',
  title: "SIGKILL of a node with the broker that leads the view's key (R3), to the view without it",
  async run({ quick, log }): Promise<Row[]> {
    if (!canRunNative) throw new Error('needs root, criu and the guard: see ssi doctor');
    const kills = quick ? 2 : 6;
    const brokers = await new Brokers().start();
    const cluster = await startCluster({ nats: brokers.url, env: { SSI_REPLICAS: '3' } }).catch(
      async (error: unknown) => {
        await brokers.stop();
        throw error;
      },
    );
    const took: number[] = [];
    let lost = 0;
    try {
      const opened = await connect({ cluster: cluster.name });
      if (!opened.ok) throw new Error(opened.detail);
      const ssi = opened.value;
      const allUp = () =>
        waitUntil(
          'three nodes UP',
          async () => {
            const view = await ssi.view();
            return view.ok && view.value.members.filter((m) => m.state === 'UP').length === 3;
          },
          60_000,
          cluster.describe,
        );
      await allUp();
      const logs = new Map(nums.map((n) => [n, MembershipLog.of(cluster.name, n)]));
      for (let i = 0; i < kills; i++) {
        const victim = await waitUntil(
          'the key has a leader',
          () => brokers.leader(cluster.name),
          30_000,
        );
        const survivors = nums.filter((n) => n !== victim);
        const pids: number[] = [];
        for (const node of survivors)
          for (let n = 0; n < 3; n++) {
            const started = await ssi.run({ argv: ['/bin/sleep', '600'], env: {}, cwd: '/', node });
            if (!started.ok) throw new Error(`${started.errno} ${started.detail}`);
            pids.push(started.value.pid);
          }
        const entry = cluster.file().nodes.find((n) => n.num === victim);
        if (!entry) throw new Error(`no node ${victim}`);
        for (const l of logs.values()) l.read();
        const killedMs = Date.now();
        brokers.kill(victim);
        process.kill(entry.pid, 'SIGKILL');
        const told = new Map<number, number>();
        await waitUntil(
          `every survivor knows that node ${victim} is gone`,
          () => {
            for (const n of survivors)
              for (const line of logs.get(n)?.read() ?? [])
                if (line.text === 'transition' && line.num === victim && line.to === 'KCLEANUP')
                  told.set(n, line.atMs);
            return told.size === survivors.length;
          },
          60_000,
          cluster.describe,
        );
        took.push(Math.max(...told.values()) - killedMs);
        brokers.startOne(victim);
        const again = await cluster.ssi('node', 'start', String(victim));
        if (again.code !== 0) throw new Error(again.stderr);
        await allUp();
        for (const pid of pids) {
          const ended = await ssi.kill(pid, 9);
          if (!ended.ok) lost++;
        }
        log(`node ${victim}: ${took.at(-1)} ms; ${lost} programs lost so far`);
      }
      await ssi.close();
    } finally {
      await cluster.stop();
      await brokers.stop();
    }
    const worst = Math.max(...took);
    const note = `${kills} kills`;
    const sorted = took.toSorted((a, b) => a - b);
    return [
      { name: 'p50', value: sorted[Math.ceil(kills / 2) - 1] ?? Number.NaN, unit: 'ms', note },
      { name: 'p99', value: worst, unit: 'ms', target: '<= 12000', met: worst <= 12_000, note },
      { name: 'programs lost', value: lost, unit: '', target: '0', met: lost === 0, note },
    ];
  },
};
