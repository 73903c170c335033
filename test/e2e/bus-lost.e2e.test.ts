// The bus away for good, or never there, and commands interrupted: a clear errno within seconds, programs
// live on, and nothing is left behind.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canRunNative, follow, startCluster, type TestCluster } from '../harness/cluster.ts';
import { runningCopies } from '../harness/host-proc.ts';
import { footprint } from '../harness/leftovers.ts';
import { expectNoTrace, expectRefused } from '../harness/refusal.ts';
import { waitUntil } from '../harness/wait-until.ts';

const empty = {
  ...{ processes: [], pidNamespaces: [], links: [], cgroups: [] },
  ...{ nftTables: [], folders: [] },
};

describe.skipIf(!canRunNative)('end to end: no bus, and interrupted', { timeout: 60_000 }, () => {
  let cluster: TestCluster;
  let pid = 0;
  const mark = `SSI_TEST_MARK=lost${process.pid}`;
  beforeAll(async () => {
    cluster = await startCluster();
    const args = ['--node', '1', '--detach', '--json', '--env', mark, '--', '/bin/sleep', '1000'];
    pid = (await cluster.json<{ pid: number }>('run', ...args)).pid;
  }, 120_000);
  afterAll(async () => {
    if (footprint(cluster.name).folders.length > 0) await cluster.stop();
  });

  test.each([
    ['wait', 'PID'],
    ['logs', 'PID', '--follow'],
    ['migrate', 'PID', '2'],
    ['drain', '1'],
  ])('SIGINT in the middle of %s: 130, and the program runs on', async (...words) => {
    const args = words.map((w) => (w === 'PID' ? String(pid) : w));
    const { child, seen, ended } = follow(cluster, ...args);
    // It is in the middle once it talks to the bus: a connection of its own.
    await waitUntil('its call', () => child.exitCode === null && hasSocket(child.pid), 15_000);
    child.kill('SIGINT');
    expect(await ended, seen.stderr).toBe(130);
    expectNoTrace(seen);
    // A move that was under way goes on without who asked for it.
    await waitUntil('one copy runs', () => runningCopies(mark, pid).length === 1, 15_000);
  });

  test('SIGINT in the middle of up: 130, and nothing is left', async () => {
    const other = { ...cluster, name: `${cluster.name}i` };
    const { child, seen, ended } = follow(other, 'up');
    await waitUntil('its first node', () => seen.stderr.includes('node 1'), 30_000);
    child.kill('SIGINT');
    expect(await ended, seen.stderr).toBe(130);
    expectNoTrace(seen);
    expect(footprint(other.name)).toMatchObject({ ...empty, nftTables: expect.anything() });
  });

  test('down in the middle of up: up says so at once, and takes down nothing that comes after it', async () => {
    const other = { ...cluster, name: `${cluster.name}d` };
    const { seen, ended } = follow(other, 'up', '--detach');
    await waitUntil('it waits', () => seen.stderr.includes('waiting for the nodes'), 30_000);
    expect(await follow(other, 'down').ended).toBe(0);
    // It would wait for its nodes for 60 s.
    const code = await Promise.race([ended, new Promise((late) => setTimeout(late, 20_000))]);
    expect(code, seen.stderr).toBe(1);
    expect(seen.stderr).toContain('was taken down meanwhile');
    expect(footprint(other.name)).toMatchObject({ ...empty, nftTables: expect.anything() });
  });

  test('up with a bus that is not there: ECONNREFUSED, and nothing is left', async () => {
    const other = { ...cluster, name: `${cluster.name}n` };
    const { seen, ended } = follow(other, 'up', '--detach', '--nats', 'nats://127.0.0.1:1');
    const code = await ended;
    expectRefused({ code, ...seen }, { code: 1, errno: ['ECONNREFUSED'], hint: /ssi doctor/ });
    expect(footprint(other.name)).toMatchObject({ ...empty, nftTables: expect.anything() });
  });

  test('nats-server killed: commands say so, programs live on, down takes everything down', async () => {
    const nats = cluster.file().processes.find((p) => p.name === 'nats-server');
    if (!nats) throw new Error('no nats-server');
    process.kill(nats.pid, 'SIGKILL');
    for (const args of [['nodes'], ['ps'], ['migrate', String(pid), '2'], ['kill', String(pid)]]) {
      const started = performance.now();
      expectRefused(await cluster.ssi(...args), {
        code: 1,
        errno: ['ECONNREFUSED'],
        hint: /ssi doctor/,
      });
      expect(performance.now() - started).toBeLessThan(10_000);
    }
    expect(runningCopies(mark, pid)).toHaveLength(1);
    const { processes } = footprint(cluster.name);
    const interrupted = follow(cluster, 'down');
    const begun = (): boolean => footprint(cluster.name).processes.length < processes.length;
    await waitUntil('down has ended something', begun, 30_000);
    interrupted.child.kill('SIGINT');
    // Zero where it was done already; what it left is for the next one.
    expect([130, 0]).toContain(await interrupted.ended);
    expectNoTrace(interrupted.seen);
    if (footprint(cluster.name).folders.length > 0) await cluster.stop();
    expect(footprint(cluster.name)).toMatchObject({ ...empty, nftTables: expect.anything() });
    expect(runningCopies(mark, pid)).toHaveLength(0);
  });
});

/** Does it hold an established TCP connection? */
function hasSocket(pid: number | undefined): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/net/tcp`, 'latin1');
    const own = new Set(
      readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`)),
    );
    return text.split('\n').some((line) => {
      const words = line.trim().split(/\s+/);
      return words[3] === '01' && own.has(`socket:[${words[9]}]`);
    });
  } catch {
    return false; // A descriptor was closed meanwhile.
  }
}
