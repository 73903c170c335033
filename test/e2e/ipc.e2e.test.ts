// IPC in a real cluster: `ssi mq`, `ssi sem` and `ssi fifo` over three nodes whose IPC services are processes of
// their own, with the cluster's Redis; the nameserver and nodes are killed.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type Ipc, type Ssi } from '@ssi/client';
import type { IpcInfo, Reply } from '@ssi/contracts';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program } from '../harness/busy.ts';
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
  /** A program that knows only the C library. */
  const perl = async (node: number, script: string): Promise<number> => {
    const start = ['run', '--node', `${node}`, '--cluster-ipc', '--detach', '--'];
    return Number(await run(...start, '/usr/bin/perl', '-e', script));
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

  test('programs that know nothing of it: messages from node to node, a move between two calls, an alarm', async () => {
    // Takes 100 numbers and says them; a wait is ended by an alarm first.
    const taker = `$SIG{ALRM} = sub {}; $| = 1; $q = msgget(20, 01600); alarm 1;
      print msgrcv($q, $b, 100, 0, 0) ? "not waited" : $! + 0, "\\n";
      while ($i < 100) { msgrcv($q, $b, 100, -9, 0) or next; ($t, $m) = unpack("l! a*", $b); print "$m\\n"; $i++ }
      msgctl($q, 0, 0) or die $!`;
    const giver = `$q = msgget(20, 01600); for (1 .. 100) { msgsnd($q, pack("l! a*", 1, $_), 0) or die $!; select undef, undef, undef, 0.02 }`;
    const takes = await perl(1, taker);
    const said = async () => (await run('logs', `${takes}`)).trim().split('\n');
    await waitUntil('the alarm', async () => (await said())[0] === '4', 20_000, cluster.describe);
    const gives = await perl(2, giver);
    // A call that is on its way stands against a move.
    const moved = async () => (await ssi.migrate(gives, 3)).ok;
    await waitUntil('the giver has moved', moved, 20_000, cluster.describe);
    value(await ssi.wait(gives));
    value(await ssi.wait(takes));
    expect(await said()).toEqual(['4', ...Array.from({ length: 100 }, (_, i) => `${i + 1}`)]);
    expect(value(await ssi.ipcs('msg')).objects).toEqual([]);
  });

  test('what the calls of the C library give is what the kernel gives', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ssi-sysv-'));
    try {
      const binary = join(dir, 'sysv');
      execFileSync('gcc', ['-o', binary, program('sysv.c')]);
      const kernels = execFileSync('unshare', ['--ipc', binary], { encoding: 'utf8' });
      expect(await run('run', '--node', '2', '--cluster-ipc', '--', binary)).toBe(kernels);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('a program that is killed: what it took with SEM_UNDO another node has at once', async () => {
    const taker = `$s = semget(21, 1, 01600); semctl($s, 0, 16, 1); semop($s, pack("s!3", 0, -1, 010000)) or die $!; sleep 1000`;
    const waiter = `$s = semget(21, 1, 0); semop($s, pack("s!3", 0, -1, 0)) or die $!; semctl($s, 0, 0, 0) or die $!`;
    const state = async () => value(await ssi.ipcs('sem')).objects[0];
    const takes = await perl(2, taker);
    await waitUntil('it is taken', async () => (await state())?.stat.holds === 0, 20_000);
    const waits = await perl(3, waiter);
    await waitUntil('the other waits', async () => (await state())?.stat.waiting === 1, 20_000);
    const killedMs = performance.now();
    value(await ssi.kill(takes, 9));
    expect(value(await ssi.wait(waits))).toMatchObject({ code: 0 });
    const tookMs = Math.round(performance.now() - killedMs);
    process.stdout.write(`undone and taken ${tookMs} ms after the kill\n`);
    expect(tookMs).toBeLessThan(5_000);
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
