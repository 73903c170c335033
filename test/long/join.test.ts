// A real machine joins: here the machine that also runs the cluster, on its own network, as node 4.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  canRunNative,
  runSsi,
  startCluster,
  type TestCluster,
  waitForStates,
} from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';

describe.skipIf(!canRunNative)('end to end: join', { timeout: 60_000 }, () => {
  let cluster: TestCluster;
  const runDir = mkdtempSync(join(tmpdir(), 'ssi-join-'));
  beforeAll(async () => {
    cluster = await startCluster({ nodes: 2 });
  });
  afterAll(async () => {
    await cluster?.stop();
    rmSync(runDir, { recursive: true, force: true });
  });
  const there = (...args: string[]) =>
    runSsi(args, { SSI_CLUSTER: cluster.name, SSI_RUN_DIR: runDir });

  test("token and join: a node on the machine's own network; a process moves there, and away when it leaves", async () => {
    const token = (await cluster.ssi('node', 'token')).stdout.trim();
    expect(token).toMatch(/^ssi1\./);
    const joined = await there('join', '--num', '4', '--detach', token);
    expect(joined.stderr + joined.stdout).toMatch(/node 4 .* is UP/);
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 4: 'UP' });
    // From the machine that joined one may look, and no more.
    expect((await there('nodes')).stdout).toMatch(/4 .*UP/);
    expect((await there('run', '--node', '1', '--', '/bin/true')).stderr).toContain('EPERM');
    const { pid } = await cluster.json<{ pid: number }>(
      ...['run', '--node', '1', '--detach', '--json', '--', '/bin/sleep', '1000'],
    );
    expect(await cluster.json('migrate', String(pid), '4', '--json')).toMatchObject({ to: 4 });
    const drained = await cluster.ssi('drain', '4');
    expect(drained.stderr + drained.stdout).toContain(String(pid));
    expect(drained.code).toBe(0);
    expect((await cluster.ssi('where_pid', String(pid))).stdout.trim()).not.toBe('4');
    const gone = await there('down');
    expect(gone.stderr).toContain('gone');
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 4: 'DOWN' });
    expect((await cluster.ssi('kill', '-KILL', String(pid))).code).toBe(0);
  });

  test('a token is used once, and not after its time', async () => {
    const token = (await cluster.ssi('node', 'token')).stdout.trim();
    // While one is open somebody answers.
    expect((await cluster.ssi('node', 'token')).code).toBe(0);
    const refused = async (text: string, why: RegExp) => {
      const reply = await there('join', '--num', '5', '--detach', text);
      expect(reply.code).toBe(1);
      expect(reply.stderr).toMatch(why);
    };
    expect((await there('join', '--num', '5', '--detach', token)).code).toBe(0);
    expect((await there('down')).code).toBe(0);
    await waitForStates(cluster, { 5: 'DOWN' });
    await refused(token, /EACCES.*used/);
    const brief = (await cluster.ssi('node', 'token', '--expires', '1s')).stdout.trim();
    const untilMs = Date.now() + 1_000;
    await waitUntil('its time is over', () => Date.now() > untilMs, 5_000);
    await refused(brief, /EACCES.*expired/);
  });

  test('a second node with a living number is refused, and a broken token too', async () => {
    const token = (await cluster.ssi('node', 'token')).stdout.trim();
    // Not used up by this.
    const taken = await there('join', '--num', '1', '--detach', token);
    expect(taken.code).toBe(1);
    expect(taken.stderr).toMatch(/EEXIST.*--num/);
    const broken = await there('join', 'ssi1.nonsense');
    expect(broken.code).toBe(1);
    expect(broken.stderr).toMatch(/EINVAL.*ssi node token/);
  });
});
