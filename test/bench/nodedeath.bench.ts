// SIGKILL of a node until every survivor has applied the view without it; one kill in three is the
// master's. Shipped defaults, three nodes in namespaces, serf beside them in the same run. And how long
// the survivors' programs stand still, by their own clock.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { connect } from '@ssi/client';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { isService, markedTasks } from '../harness/host-proc.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { MembershipLog } from './membership-log.ts';
import type { Bench, Row } from './report.ts';
import { serfDetections } from './serf.ts';

const nums = [1, 2, 3];
/** A program that tells each time it stood still for longer than 30 ms: its end (wall clock) and length. */
const watcher = `
import sys, time
out = open(sys.argv[1], 'w', buffering=1)
last = time.monotonic()
out.write('0 0\\n')
while True:
    time.sleep(0.005)
    now = time.monotonic()
    if now - last > 0.03: out.write(f'{time.time() * 1000:.0f} {(now - last) * 1000:.0f}\\n')
    last = now
`;

/** Nearest rank. */
const at = (list: readonly number[], q: number): number =>
  list.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(list.length * q) - 1)] ?? Number.NaN;

interface Death {
  readonly master: boolean;
  readonly tookMs: number;
  /** Longest stand-still of a program of each survivor since the kill. */
  readonly stoodMs: readonly number[];
}

async function deaths(
  cluster: TestCluster,
  kills: number,
  log: (line: string) => void,
): Promise<Death[]> {
  const opened = await connect({ cluster: cluster.name });
  if (!opened.ok) throw new Error(opened.detail);
  const ssi = opened.value;
  const dir = mkdtempSync(`${tmpdir()}/ssi-nodedeath-`);
  const logs = new Map(nums.map((n) => [n, MembershipLog.of(cluster.name, n)]));
  const watch = async (node: number): Promise<void> => {
    const path = `${dir}/${node}`;
    const argv = ['/usr/bin/python3', '-c', watcher, path];
    const started = await ssi.run({ argv, env: {}, cwd: '/', node });
    if (!started.ok) throw new Error(`${started.errno} ${started.detail}`);
    await waitUntil('the watcher runs', () => gaps(node).length > 0, 10_000);
  };
  const gaps = (node: number): { endMs: number; ms: number }[] => {
    try {
      const lines = readFileSync(`${dir}/${node}`, 'utf8').trim().split('\n');
      return lines.map((l) => ({ endMs: Number(l.split(' ')[0]), ms: Number(l.split(' ')[1]) }));
    } catch {
      return [];
    }
  };
  /** All UP, each with its standby: a cluster at rest. */
  const atRest = (): Promise<number> =>
    waitUntil(
      'three nodes UP, each with its standby',
      async () => {
        const view = await ssi.view();
        if (!view.ok || view.value.members.filter((m) => m.state === 'UP').length < 3) return false;
        const processes = markedTasks(`SSI_CLUSTER=${cluster.name}`).filter((t) =>
          isService(t.command, 'membership'),
        );
        return processes.length >= 6 && view.value.master;
      },
      60_000,
      cluster.describe,
    );

  try {
    await atRest();
    for (const n of nums) await watch(n);
    const done: Death[] = [];
    for (let i = 0; i < kills; i++) {
      const master = await atRest();
      const slaves = nums.filter((n) => n !== master);
      const victim = i % 3 === 2 ? master : (slaves[i % 2] ?? 0);
      const survivors = nums.filter((n) => n !== victim);
      const entry = cluster.file().nodes.find((n) => n.num === victim);
      if (!entry) throw new Error(`no node ${victim}`);
      for (const l of logs.values()) l.read();
      const killedMs = Date.now();
      // What `ssi node kill` does, without the time that a command takes to start.
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
        30_000,
        cluster.describe,
      );
      const tookMs = Math.max(...told.values()) - killedMs;
      const started = await cluster.ssi('node', 'start', String(victim));
      if (started.code !== 0) throw new Error(started.stderr);
      await atRest();
      const stoodMs = survivors.map((n) =>
        Math.max(
          0,
          ...gaps(n)
            .filter((g) => g.endMs > killedMs && g.endMs < killedMs + 5_000)
            .map((g) => g.ms),
        ),
      );
      done.push({ master: victim === master, tookMs, stoodMs });
      log(`${victim === master ? 'master' : 'slave'} ${victim}: ${tookMs} ms; stood ${stoodMs}`);
      await watch(victim);
    }
    return done;
  } finally {
    await ssi.close();
    rmSync(dir, { recursive: true });
  }
}

export const bench: Bench = {
  name: 'nodedeath',
  title: 'SIGKILL of a node to the view without it on every survivor (3 nodes)',
  async run({ quick, log }) {
    if (!canRunNative) throw new Error('needs root, criu and the guard: see ssi doctor');
    const peer = serfDetections(quick ? 2 : 10).catch((e: unknown) => {
      log(`serf: ${String(e)}`);
      return undefined;
    });
    const cluster = await startCluster();
    let done: Death[];
    try {
      done = await deaths(cluster, quick ? 9 : 30, log);
    } finally {
      await cluster.stop();
      await peer;
    }
    const ms = (name: string, list: readonly number[], q: number, most?: number): Row => {
      const value = Math.round(at(list, q));
      const row = {
        name: `${name} p${q * 100}`,
        value,
        unit: 'ms',
        note: `${list.length} samples`,
      };
      return most === undefined ? row : { ...row, target: `<= ${most}`, met: value <= most };
    };
    const slave = done.filter((d) => !d.master);
    const master = done.filter((d) => d.master);
    const took = (list: readonly Death[]) => list.map((d) => d.tookMs);
    const stood = (list: readonly Death[]) => list.flatMap((d) => d.stoodMs);
    const rows = [
      ms('slave', took(slave), 0.5, 600),
      ms('slave', took(slave), 0.99, 1_000),
      ms('master', took(master), 0.5),
      ms('master', took(master), 0.99, 1_800),
      ms("programs stand still, a slave's death", stood(slave), 0.99),
      ms("programs stand still, the master's death", stood(master), 0.5),
      ms("programs stand still, the master's death", stood(master), 0.99),
    ];
    const serf = await peer;
    if (serf) rows.push(ms('serf', serf, 0.5), ms('serf', serf, 0.99));
    return rows;
  },
};
