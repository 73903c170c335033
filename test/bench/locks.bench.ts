// What a lock costs: ours in one process, from a program of the node, from another node, beside redlock on
// Redis and etcd's lock service on the same machine in the same run, by turns. And what a lost node costs
// those who held locks there, and what a lock weighs.
import { readFileSync } from 'node:fs';
import { createEmbeddedCluster } from '@ssi/cli';
import { connect, findCluster, type Lockspace, natsLink } from '@ssi/client';
import { dlm } from '@ssi/contracts';
import { startCluster, type TestCluster } from '../harness/cluster.ts';
import { type EtcdServer, startEtcd } from '../harness/etcd.ts';
import { type LockClient, openLockClient, type PeerName } from '../harness/lock-peers.ts';
import { waitUntil } from '../harness/wait-until.ts';
import { startLoneDlm } from './lone-dlm.ts';
import { type Bench, median, type Row } from './report.ts';

const peers: readonly PeerName[] = ['ssi', 'redlock', 'etcd'];
const recoveredCount = 10_000;
const weighedCount = 50_000;
const inFlight = 64;

type Work = (i: number) => Promise<unknown>;

/** us of each of `n`, one after the other. */
async function timesUs(n: number, work: Work): Promise<number[]> {
  const list: number[] = [];
  for (let i = 0; i < n; i++) {
    const from = performance.now();
    await work(i);
    list.push((performance.now() - from) * 1_000);
  }
  return list;
}

async function perSecond(n: number, width: number, work: Work): Promise<number> {
  let next = 0;
  const from = performance.now();
  const one = async (): Promise<void> => {
    for (let i = next++; i < n; i = next++) await work(i);
  };
  await Promise.all(Array.from({ length: width }, one));
  return (n * 1_000) / (performance.now() - from);
}

function value<T>(reply: { ok: true; value: T } | { ok: false; errno: string; detail: string }): T {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
}

const lockUnlock =
  (ls: Lockspace, name: (i: number) => string): Work =>
  async (i) => {
    const lock = value(await ls.lock(name(i), 'EX'));
    value(await ls.unlock(lock));
  };

/** As code of the lock manager's own process asks: its handlers, nothing between. */
async function handlersOnly(quick: boolean): Promise<Row[]> {
  const { handlers, stop } = await startLoneDlm();
  const signal = new AbortController().signal;
  const from = { node: 1, service: 'bench', bootId: 'cd'.repeat(8) };
  const call = { ...{ from, transid: 1, signal }, context: { priority: 0 as const } };
  const session = '5'.repeat(16);
  await handlers.asts?.({ session, open: true, after: 0 }, call);
  let ref = 0;
  const pair =
    (name: (i: number) => string): Work =>
    async (i) => {
      const request = { session, ref: ++ref, op: 1, lockspace: 'bench', resource: name(i) };
      const got = await handlers.lock?.({ ...request, mode: 'EX' as const }, call);
      if (!got?.ok) throw new Error(got?.detail);
      await handlers.unlock?.({ session, ref }, call);
    };
  try {
    const n = quick ? 5_000 : 50_000;
    await timesUs(
      n,
      pair(() => 'warm'),
    );
    const warmUs = median(
      await timesUs(
        n,
        pair(() => 'warm'),
      ),
    );
    const coldUs = median(
      await timesUs(
        n / 5,
        pair((i) => `cold${i}`),
      ),
    );
    return [
      {
        ...{ name: 'lock+unlock, inside the lock manager, warm: p50', value: warmUs, unit: 'us' },
        ...{ target: '<= 10', met: warmUs <= 10 },
      },
      { name: 'lock+unlock, inside the lock manager, cold: p50', value: coldUs, unit: 'us' },
    ];
  } finally {
    stop();
  }
}

/** Client and lock manager in one process: calls cross the memory transport. */
async function inProcess(quick: boolean): Promise<Row[]> {
  const cluster = await createEmbeddedCluster({ nodes: 1, sample: 0 });
  try {
    value(await cluster.up(20_000));
    const ls = value(await cluster.ssi.lockspace('bench'));
    const n = quick ? 2_000 : 20_000;
    const warm = lockUnlock(ls, () => 'warm');
    await timesUs(n, warm);
    const warmUs = median(await timesUs(n, warm));
    const coldUs = median(
      await timesUs(
        n,
        lockUnlock(ls, (i) => `cold${i}`),
      ),
    );
    await ls.close();
    return [
      {
        ...{ name: 'lock+unlock, in process by ICS, warm: p50', value: warmUs, unit: 'us' },
        ...{ target: '<= 10', met: warmUs <= 10 },
      },
      { name: 'lock+unlock, in process by ICS, cold: p50', value: coldUs, unit: 'us' },
    ];
  } finally {
    await cluster.close();
  }
}

async function besidePeers(cluster: TestCluster, etcd: EtcdServer, quick: boolean): Promise<Row[]> {
  const redis = cluster.file().redis ?? '';
  const open = (peer: PeerName, node: number): Promise<LockClient> =>
    openLockClient(peer, { cluster: cluster.name, node, redis, etcd: etcd.address });
  const clients = new Map<PeerName, readonly [LockClient, LockClient]>();
  for (const peer of peers) clients.set(peer, [await open(peer, 1), await open(peer, 2)]);
  const of = (peer: PeerName): readonly [LockClient, LockClient] => {
    const pair = clients.get(peer);
    if (!pair) throw new Error(`no client of ${peer}`);
    return pair;
  };
  const figures = new Map<string, number[]>();
  try {
    const turns = quick ? 2 : 5;
    // The first turn warms up.
    for (let turn = -1; turn < turns; turn++)
      for (const peer of peers) {
        const [a, b] = of(peer);
        const n = (quick ? 100 : 400) * (peer === 'etcd' ? 1 : 5);
        const add = (what: string, figure: number): void => {
          const key = `${what} ${peer}`;
          if (turn >= 0) figures.set(key, [...(figures.get(key) ?? []), figure]);
        };
        const one = (name: (i: number) => string) => async (i: number) =>
          (await a.acquire(name(i))).release();
        add(
          'alone',
          median(
            await timesUs(
              n,
              one(() => 'alone'),
            ),
          ),
        );
        add(
          'cold',
          median(
            await timesUs(
              n,
              one((i) => `cold${turn}.${i}`),
            ),
          ),
        );
        const many = one((i) => `many${i % (2 * inFlight)}`);
        add('many', await perSecond(5 * n, inFlight, many));
        add('over', median(await handOversUs(a, b, peer === 'ssi' ? 50 : 8)));
      }
    const lines = [
      ['alone', 'lock+unlock, same resource again: p50', 'us', 1],
      ['cold', 'lock+unlock, a new resource each time: p50', 'us', 1],
      ['over', 'hand-over of a contended EX lock: p50', 'us', 1],
      ['many', `lock+unlock, ${inFlight} in flight`, 'per s', -1],
    ] as const;
    return lines.flatMap(([what, name, unit, sign]) => {
      const at = (peer: PeerName): number => median(figures.get(`${what} ${peer}`) ?? []);
      const best = sign * Math.min(...peers.slice(1).map((p) => sign * at(p)));
      return peers.map((peer) => ({
        ...{ name: `${peer}: ${name}`, value: at(peer), unit },
        ...(peer === 'ssi' && {
          target: sign > 0 ? `< ${Math.round(best)}` : `> ${Math.round(best)}`,
          met: sign * at('ssi') < sign * best,
        }),
      }));
    });
  } finally {
    for (const pair of clients.values()) for (const client of pair) await client.close();
  }
}

/** From giving a lock up until the one who waited has it. */
async function handOversUs(a: LockClient, b: LockClient, n: number): Promise<number[]> {
  const list: number[] = [];
  let [holder, waiter] = [a, b];
  let held = await holder.acquire('over');
  for (let i = 0; i < n; i++) {
    const asked = waiter.acquire('over').then((lock) => ({ lock, atMs: performance.now() }));
    // Long enough to be in the queue.
    await new Promise((done) => setTimeout(done, 5));
    const from = performance.now();
    await Promise.all([held.release(), asked]);
    const got = await asked;
    list.push((got.atMs - from) * 1_000);
    held = got.lock;
    [holder, waiter] = [waiter, holder];
  }
  await held.release();
  return list;
}

/** What it costs that a resource goes to the node that uses it most, and what it saves. */
async function masteryMoves(here: Lockspace, there: Lockspace, quick: boolean): Promise<Row[]> {
  const figures = { before: [] as number[], during: [] as number[], after: [] as number[] };
  const lead = 16;
  for (let i = 0; i < (quick ? 5 : 30); i++) {
    value(await there.unlock(value(await there.lock(`moves${i}`, 'EX'))));
    const us = await timesUs(
      4 * lead,
      lockUnlock(here, () => `moves${i}`),
    );
    figures.before.push(median(us.slice(2, lead - 1)));
    figures.during.push(Math.max(...us.slice(lead - 1, 2 * lead)));
    figures.after.push(median(us.slice(2 * lead)));
  }
  const [before, during, after] = [figures.before, figures.during, figures.after].map(median);
  const worth = (during ?? 0) / Math.max(1, (before ?? 0) - (after ?? 0));
  return [
    { name: 'lock+unlock before its mastership moves here: p50', value: before ?? 0, unit: 'us' },
    { name: 'lock+unlock while it does: p50', value: during ?? 0, unit: 'us' },
    { name: 'lock+unlock after it has: p50', value: after ?? 0, unit: 'us' },
    {
      ...{ name: 'a move costs as much as it saves in', value: worth, unit: 'operations' },
      ...{ target: `< ${lead}`, met: worth < lead },
    },
  ];
}

/** What the lock manager of a node says of itself, asked as any client asks; and what asking costs. */
async function statusLink(cluster: TestCluster) {
  const found = value(findCluster({ cluster: cluster.name }));
  const link = value(
    await natsLink({ ...found, seeds: [1], uid: 0, waitMs: 5_000, credential: found.credential }),
  );
  return {
    counters: async (node: number) =>
      value(await link.ics.call(dlm, 'status', node, {}, { timeoutMs: 5_000 })).counters,
    close: () => link.close(),
  };
}

async function apart(
  cluster: TestCluster,
  quick: boolean,
  log: (line: string) => void,
): Promise<Row[]> {
  const ssi = value(await connect({ cluster: cluster.name }));
  const status = await statusLink(cluster);
  const rows: Row[] = [];
  try {
    const here = value(await ssi.lockspace('apart', { node: 1 }));
    const there = value(await ssi.lockspace('apart', { node: 2 }));
    const n = quick ? 200 : 1_000;
    const own = value(await here.lock('own', 'NL'));
    const figures = {
      rpc: [] as number[],
      near: [] as number[],
      pair: [] as number[],
      far: [] as number[],
    };
    for (let turn = 0; turn < 5; turn++) {
      figures.rpc.push(median(await timesUs(n, () => status.counters(1))));
      figures.pair.push(
        median(
          await timesUs(
            n,
            lockUnlock(here, () => 'own'),
          ),
        ),
      );
      const locked = async (name: string): Promise<number> => {
        const from = performance.now();
        const lock = value(await here.lock(name, 'EX'));
        const us = (performance.now() - from) * 1_000;
        value(await here.unlock(lock));
        return us;
      };
      const [near, far]: number[][] = [[], []];
      for (let i = 0; i < n; i++) near?.push(await locked('own'));
      // A few of each, so that none moves to who uses it most.
      for (let i = 0; i < n / 10; i++) {
        const kept = value(await there.lock(`remote${turn}.${i}`, 'NL'));
        for (let j = 0; j < 10; j++) far?.push(await locked(kept.resource));
        value(await there.unlock(kept));
      }
      figures.near.push(median(near ?? []));
      figures.far.push(median(far ?? []));
    }
    value(await here.unlock(own));
    const [rpc, near, pair, far] = [figures.rpc, figures.near, figures.pair, figures.far].map(
      median,
    );
    const ratio = (far ?? 0) / (rpc ?? 1);
    rows.push(
      { name: 'one RPC of ICS from the client: p50', value: rpc ?? 0, unit: 'us' },
      {
        ...{ name: 'lock+unlock, from another process of the node, warm: p50', value: pair ?? 0 },
        ...{ unit: 'us', target: '<= 80', met: (pair ?? 0) <= 80 },
      },
      { name: 'lock alone, mastered at its node: p50', value: near ?? 0, unit: 'us' },
      { name: 'lock alone, mastered elsewhere: p50', value: far ?? 0, unit: 'us' },
      {
        ...{ name: 'lock mastered elsewhere / one RPC', value: ratio, unit: 'x' },
        ...{ target: '<= 1.5', met: ratio <= 1.5 },
      },
    );

    rows.push(...(await masteryMoves(here, there, quick)));

    log('weighing');
    const rssKb = (): number =>
      Number(
        /VmRSS:\s+(\d+)/.exec(
          readFileSync(`/proc/${cluster.servicePid(3, 'dlm')}/status`, 'utf8'),
        )?.[1],
      );
    // One that has had nothing to do so far: its heap has no room of before.
    const idle = value(await ssi.lockspace('weight', { node: 3 }));
    const before = rssKb();
    await perSecond(weighedCount, inFlight, async (i) => value(await idle.lock(`w${i}`, 'EX')));
    const bytes = ((rssKb() - before) * 1024) / weighedCount;
    await Promise.all([idle.close(), here.close()]);
    rows.push({
      ...{
        name: 'memory of a lock and its resource, all at one node',
        value: bytes,
        unit: 'bytes',
      },
      note: `${weighedCount} of them, resident memory of the lock manager`,
    });

    log('recovering');
    const doomed = value(await ssi.lockspace('doomed', { node: 3 }));
    const left = value(await ssi.lockspace('doomed', { node: 1 }));
    await perSecond(recoveredCount, inFlight, async (i) => value(await doomed.lock(`r${i}`, 'CR')));
    await perSecond(recoveredCount, inFlight, async (i) => value(await left.lock(`r${i}`, 'CR')));
    // Asked without a pause: as good as its own clock.
    let recoveringMs: number | undefined;
    let doneMs: number | undefined;
    const killed = cluster.ssi('node', 'kill', '3');
    await waitUntil(
      'the locks are recovered',
      async () => {
        const counters = await Promise.all([1, 2].map((num) => status.counters(num)));
        const busy = counters.some((c) => (c.recovering ?? 0) > 0);
        if (busy) recoveringMs ??= performance.now();
        else if (recoveringMs !== undefined) doneMs = performance.now();
        return doneMs !== undefined;
      },
      60_000,
    );
    await killed;
    const tookMs = (doneMs ?? 0) - (recoveringMs ?? 0);
    const counters = await Promise.all([1, 2].map((num) => status.counters(num)));
    const mastered = counters.reduce((sum, c) => sum + (c.mastered ?? 0), 0);
    if (mastered < recoveredCount) throw new Error(`${mastered} locks were recovered`);
    rows.push({
      ...{ name: `${recoveredCount} locks of a lost master recovered`, value: tookMs, unit: 'ms' },
      ...{ target: '<= 500', met: tookMs <= 500 },
      note: 'from the nodedown step until every lock manager says it is through',
    });
    await left.close();
    return rows;
  } finally {
    await status.close();
    await ssi.close();
  }
}

async function run({ quick, log }: { quick: boolean; log(line: string): void }): Promise<Row[]> {
  log('in process');
  const rows = [...(await handlersOnly(quick)), ...(await inProcess(quick))];
  const etcd = await startEtcd();
  try {
    const cluster = await startCluster();
    try {
      log('beside redlock and etcd');
      rows.push(...(await besidePeers(cluster, etcd, quick)));
      log('from node to node');
      rows.push(...(await apart(cluster, quick, log)));
    } finally {
      await cluster.stop();
    }
  } finally {
    await etcd.stop();
  }
  return rows;
}

export const bench: Bench = {
  name: 'locks',
  title: 'locks: in process, from the node, from another node; beside redlock and etcd, by turns',
  run,
};
