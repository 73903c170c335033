// `ssi run --addr`: an address that moves with its program, connected TCP included, seen by a machine that is
// no node: none of its connections is reset, and nobody else ever has the address.
import { spawnSync } from 'node:child_process';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { type Outsider, startOutsider } from '../harness/outsider.ts';
import { waitUntil } from '../harness/wait-until.ts';

const python = '/usr/bin/python3';
const tcpCount = program('tcp_count.py');
const port = '7400';

describe.skipIf(!canRunNative)('end to end: floating addresses', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  let outsider: Outsider;
  beforeAll(async () => {
    // Dies once on each node, right after it has decided to give its copy up.
    cluster = await startCluster({ env: { SSI_FAILPOINTS: 'move.source.killed=kill' } });
    ssi = value(await connect({ cluster: cluster.name }));
    outsider = startOutsider(cluster);
  }, 120_000);
  afterAll(async () => {
    await ssi?.close();
    outsider?.stop();
    await cluster?.stop();
  }, 60_000);

  /** A command in the network namespace of a node. */
  const inside = (node: number, ...argv: string[]): string => {
    const pid = cluster.file().nodes.find((n) => n.num === node)?.pid;
    return spawnSync('nsenter', ['-t', String(pid), '-n', ...argv], { encoding: 'utf8' }).stdout;
  };
  const has = (node: number, address: string): boolean =>
    inside(node, 'ip', '-4', 'addr').includes(`inet ${address}/32`);
  const serve = (node: number, address: string) =>
    ssi.run({
      argv: [python, tcpCount, 'serve', address, port],
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/',
      node,
      noInput: true,
      addr: address,
    });
  const client = async (address: string) => {
    const child = outsider.spawn([python, tcpCount, 'ask', address, port]);
    let said = '';
    child.stdout?.on('data', (bytes) => {
      said += bytes;
    });
    const ended = new Promise((done) => child.once('exit', done));
    await waitUntil('the client', () => said.includes('asking'), 15_000);
    return async (): Promise<{ answers: number; connections: number; wrong: string[] }> => {
      child.stdin?.end();
      await ended;
      return JSON.parse(said.trim().split('\n').at(-1) ?? '');
    };
  };

  test('busy connections and new ones move round, vproc dying on the way: none is reset', async () => {
    const address = outsider.other(100);
    const { pid } = value(await serve(1, address));
    await waitUntil(
      'it listens',
      () => inside(1, 'ss', '-Hltn').includes(`${address}:${port}`),
      9e3,
    );
    const end = await client(address);
    for (const node of [2, 3, 1, 2, 3, 1]) {
      await waitUntil(
        `on node ${node}`,
        async () => {
          // The service that dies of it answers nothing; where the process is says whether it moved.
          await ssi.migrate(pid, node);
          return value(await ssi.where(pid)).node === node;
        },
        60_000,
        cluster.describe,
      );
      expect([1, 2, 3].filter((n) => has(n, address))).toEqual([node]);
    }
    const told = await end();
    expect(told.wrong).toEqual([]);
    expect(told.answers).toBeGreaterThan(500);
    expect(told.connections).toBeGreaterThan(20);
    for (const node of [1, 2, 3])
      await waitUntil(
        `no rule left on ${node}`,
        () => inside(node, 'nft', 'list', 'tables') === '',
        9e3,
      );
    await ssi.kill(pid, 9);
    await waitUntil('the address is gone', () => !has(1, address), 10_000);
  }, 180_000);

  test('EADDRINUSE: somebody has it; EADDRNOTAVAIL: no network of the node; then it is free again', async () => {
    const address = outsider.other(101);
    const { pid } = value(await serve(2, address));
    expect(await serve(3, address)).toMatchObject({ ok: false, errno: 'EADDRINUSE' });
    expect(await serve(2, address)).toMatchObject({ ok: false, errno: 'EADDRINUSE' });
    expect(await serve(1, outsider.address)).toMatchObject({ ok: false, errno: 'EADDRINUSE' });
    expect(await serve(1, '10.1.2.3')).toMatchObject({ ok: false, errno: 'EADDRNOTAVAIL' });
    await ssi.kill(pid, 9);
    await waitUntil('free again', async () => (await serve(3, address)).ok, 10_000);
  }, 60_000);

  test('a node whose lease ends gives it up, and takes it again when it may run; a dead node has none', async () => {
    const address = outsider.other(102);
    const { pid } = value(await serve(2, address));
    const end = await client(address);
    const membership = cluster.servicePid(2, 'membership');
    process.kill(membership, 'SIGSTOP');
    try {
      await waitUntil('the guard drops it', () => !has(2, address), 10_000, cluster.describe);
    } finally {
      process.kill(membership, 'SIGCONT');
    }
    await waitUntil(
      'it is back, or its node was excluded',
      async () => has(2, address) || !(await ssi.where(pid)).ok,
      20_000,
      cluster.describe,
    );
    const killed = await cluster.ssi('node', 'kill', '2');
    expect(killed.code).toBe(0);
    await waitUntil('free again', async () => (await serve(3, address)).ok, 20_000);
    await end();
  }, 90_000);
});
