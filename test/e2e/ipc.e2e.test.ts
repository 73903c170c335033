// IPC in a real cluster: `ssi mq`, `ssi sem` and `ssi fifo` over three nodes whose IPC services are processes of
// their own, with the cluster's Redis; the nameserver and nodes are killed.
import { connect, type Ipc, type Ssi } from '@ssi/client';
import type { IpcInfo, Reply } from '@ssi/contracts';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { commandLine } from '../harness/command-line.ts';
import { waitUntil } from '../harness/wait-until.ts';

function value<T>(reply: Reply<T>): T {
  if (!reply.ok) throw new Error(`${reply.errno} ${reply.detail}`);
  return reply.value;
}
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (b: Uint8Array): string => new TextDecoder().decode(b);

describe.skipIf(!canRunNative)('end to end: IPC', { timeout: 60_000 }, () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  const open: Ipc[] = [];

  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  }, 120_000);
  afterAll(async () => {
    await Promise.all(open.map((ipc) => ipc.close()));
    await ssi?.close();
    await cluster?.stop();
  }, 60_000);

  const on = async (node: number): Promise<Ipc> => {
    const ipc = value(await ssi.ipc({ node }));
    open.push(ipc);
    return ipc;
  };
  const nameserver = async (): Promise<number | undefined> =>
    value(await ssi.nodes()).find((n) => n.keyServices.includes('ipc'))?.num;
  const run = async (...args: string[]): Promise<string> => {
    const said = await commandLine(cluster, ...args);
    expect(said.code, said.stderr).toBe(0);
    return said.stdout;
  };

  test('a queue and a fifo by the command line, from node to node', async () => {
    await run('mq', 'send', '-c', '--node', '2', '/jobs', 'hello');
    const listed = JSON.parse(await run('ipcs', '--json')) as IpcInfo[];
    expect(listed).toMatchObject([{ type: 'mq', name: '/jobs', node: 2, stat: { holds: 1 } }]);
    expect(await run('mq', 'recv', '--node', '3', '/jobs')).toBe('hello');
    await run('ipcrm', '--mq', '/jobs');
    await run('fifo', 'make', '--node', '1', '/f');
    const reading = run('fifo', 'read', '--node', '2', '/f');
    await run('fifo', 'write', '--node', '3', '/f');
    expect(await reading).toBe('');
    await run('ipcrm', '--fifo', '/f');
  });

  test('Redis has the names; emptied, it has them again with the next nameserver', async () => {
    const [a, b] = [await on(1), await on(2)];
    const ids = [
      value(await a.msgget(1, { create: true })),
      value(await b.semget(2, 1, { create: true })),
    ];
    const redis = new Redis(cluster.file().redis ?? '');
    const kept = async (): Promise<number[]> => {
      const keys = await redis.keys('ssi:*:ipc:*');
      const hashes = keys.filter((k) => !k.endsWith(':owner'));
      return (await Promise.all(hashes.map((k) => redis.hkeys(k)))).flat().map(Number).sort();
    };
    try {
      await waitUntil(
        'both are in Redis',
        async () => (await kept()).join() === ids.toSorted().join(),
        10_000,
      );
      await redis.flushall();
      const before = await nameserver();
      value(await ssi.handover('ipc'));
      await waitUntil('another nameserver', async () => (await nameserver()) !== before, 10_000);
      expect(value(await b.msgget(1))).toBe(ids[0]);
      await waitUntil(
        'both are in Redis again',
        async () => (await kept()).join() === ids.toSorted().join(),
        10_000,
      );
    } finally {
      redis.disconnect();
    }
    for (const id of ids) value(await a.remove(id));
  });

  test('the nameserver is killed, then its node: names and messages of other nodes stay, its own end', async () => {
    const first = (await nameserver()) ?? 0;
    const others = [1, 2, 3].filter((n) => n !== first);
    const [a, b] = [await on(others[0] ?? 0), await on(others[1] ?? 0)];
    const doomed = await on(first);
    const kept = value(await a.msgget(10, { create: true }));
    value(await b.msgsnd(kept, 1, bytes('kept')));
    const undone = value(await a.semget(11, 1, { create: true }));

    process.kill(cluster.servicePid(first, 'ipc-nameserver'), 'SIGKILL');
    await waitUntil('names again', async () => (await a.msgget(10)).ok, 20_000, cluster.describe);
    const again = await on(first);
    expect(doomed.node).toBe(first);
    value(await again.semop(undone, [{ num: 0, op: 3, undo: true }]));
    const lost = value(await again.msgget(12, { create: true }));
    const waits = b.msgrcv(lost, 10);
    await waitUntil(
      'it waits',
      async () =>
        value(await ssi.ipcs('msg')).objects.some((o) => o.id === lost && o.stat.waiting === 1),
      10_000,
    );

    expect((await cluster.ssi('node', 'kill', `${first}`)).code).toBe(0);
    expect(await waits).toMatchObject({ errno: 'EIDRM' });
    await waitForStates(cluster, { [first]: 'DOWN' });
    expect(value(await b.msgget(10))).toBe(kept);
    expect(text(value(await b.msgrcv(kept, 100)).text)).toBe('kept');
    expect(value(await b.semctl(undone, 'GETVAL', 0)).value).toBe(0);
    expect(await b.msgget(12)).toMatchObject({ errno: 'ENOENT' });
    expect(await nameserver()).not.toBe(first);
  });
});
