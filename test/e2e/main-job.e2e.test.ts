// The main job, through the command line as a script uses it: start, see, move, outlive the birth node,
// wait from elsewhere, and leave nothing behind.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  canRunNative,
  type NodeRow,
  startCluster,
  type TestCluster,
  waitForStates,
} from '../harness/cluster.ts';
import { markedTasks, runningCopies } from '../harness/host-proc.ts';
import { footprint } from '../harness/leftovers.ts';
import { numberedOutput } from '../harness/numbered.ts';
import { waitUntil } from '../harness/wait-until.ts';

interface Span {
  spanId: string;
  parentSpanId: string | null;
  name: string;
  service: string;
  node: number;
  startMs: number;
  durationMs: number;
  status: string;
}

describe.skipIf(!canRunNative)('end to end: the main job', () => {
  let cluster: TestCluster;
  const mark = `SSI_TEST_MARK=main${process.pid}`;
  let pid = 0;
  let traceId = '';

  beforeAll(async () => {
    cluster = await startCluster();
  });
  let stopped = false;
  afterAll(async () => {
    if (!stopped) await cluster?.stop();
  });

  const linesSoFar = async () => {
    const logs = await cluster.ssi('logs', String(pid));
    const output = numberedOutput();
    output.feed(logs.stdout);
    return output.report();
  };
  const moreLines = async (than: number) =>
    waitUntil(
      `more than ${than} numbers`,
      async () => {
        const report = await linesSoFar();
        return (report.next.get('') ?? 0) > than ? report : undefined;
      },
      15_000,
      cluster.describe,
    );

  test('up: three nodes are UP, each with its services', async () => {
    const nodes = await cluster.json<NodeRow[]>('nodes', '--json');
    expect(nodes.map((n) => [n.num, n.state])).toEqual([
      [1, 'UP'],
      [2, 'UP'],
      [3, 'UP'],
    ]);
    for (const n of nodes)
      expect(n.services.map((s) => s.name).sort()).toEqual([
        ...['clms', 'dlm', 'ics', 'ipc', 'lvs', 'vproc'],
      ]);
  });

  test('up: a second one is refused, and says what to do', async () => {
    const again = await cluster.ssi('up', '--detach');
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/EEXIST.*ssi down/);
  });

  test('run: a real program on node 1, with a pid of its range that is its own', async () => {
    const script = 'echo $$ >&2; i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done';
    const started = await cluster.json<{ pid: number }>(
      ...['run', '--node', '1', '--detach', '--json', '--env', mark, '--'],
      ...['/bin/bash', '-c', script],
    );
    pid = started.pid;
    expect(Math.floor(pid / 65_536)).toBe(1);
    await moreLines(10);
    expect((await cluster.ssi('logs', String(pid))).stderr.trim()).toBe(String(pid));
    expect(runningCopies(mark, pid)).toHaveLength(1);
  });

  test('migrate: it moves to 2 and to 3 with its pid, and no number is missing or repeated', async () => {
    for (const to of [2, 3]) {
      const before = await linesSoFar();
      const moved = await cluster.json<{
        pid: number;
        to: number;
        freezeMs: number;
        traceId: string;
      }>(...['migrate', String(pid), String(to), '--json']);
      expect(moved).toMatchObject({ pid, to });
      expect(moved.freezeMs).toBeGreaterThan(0);
      traceId = moved.traceId;
      const after = await moreLines((before.next.get('') ?? 0) + 10);
      expect(after.wrong).toEqual([]);
      expect(runningCopies(mark, pid)).toHaveLength(1);
      const where = await cluster.ssi('where_pid', String(pid));
      expect(where.stdout.trim()).toBe(String(to));
    }
  });

  test('trace: one migrate is one trace over membership, ics-router and vproc, without an orphan', async () => {
    const spans = await waitUntil(
      'the whole trace',
      async () => {
        const found = await cluster.ssi('trace', traceId, '--json');
        const list = found.code === 0 ? (JSON.parse(found.stdout) as Span[]) : [];
        return list.some((s) => s.parentSpanId === null) ? list : undefined;
      },
      5_000,
    );
    const ids = new Set(spans.map((s) => s.spanId));
    expect(spans.filter((s) => s.parentSpanId !== null && !ids.has(s.parentSpanId))).toEqual([]);
    const names = new Set(spans.map((s) => s.name));
    for (const name of [
      'migrate',
      'negotiate',
      'freeze',
      'dump',
      'transfer',
      'restore',
      'commit',
      'resume',
      'origin.update',
    ])
      expect([...names]).toContain(name);
    for (const node of [2, 3]) {
      const services = new Set(spans.filter((s) => s.node === node).map((s) => s.service));
      expect([...services]).toEqual(expect.arrayContaining(['clms', 'ics', 'vproc']));
    }
  });

  test('birth node killed: nothing of it is left, the program goes on, its status is had from elsewhere', async () => {
    const before = await linesSoFar();
    expect((await cluster.ssi('node', 'kill', '1')).code).toBe(0);
    await waitForStates(cluster, { 1: 'DOWN', 2: 'UP', 3: 'UP' });
    expect(markedTasks(`SSI_NODE=1`).filter((t) => t.command.includes(cluster.name))).toEqual([]);
    const after = await moreLines((before.next.get('') ?? 0) + 20);
    expect(after.wrong).toEqual([]);
    const ps = await cluster.json<{ pid: number; node: number; kind: string }[]>('ps', '--json');
    expect(ps.find((p) => p.pid === pid)).toMatchObject({ pid, node: 3, kind: 'native' });
    expect((await cluster.ssi('kill', '-TERM', String(pid))).code).toBe(0);
    expect(await cluster.json('wait', String(pid), '--json')).toMatchObject({
      pid,
      code: null,
      signal: 'SIGTERM',
    });
  });

  test('node start: the killed node joins again as a new incarnation', async () => {
    expect((await cluster.ssi('node', 'start', '1')).code).toBe(0);
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' });
  });

  test('down: no process, namespace, mount, interface, control group, nft table or folder is left', async () => {
    const run = await cluster.json<{ pid: number }>(
      ...['run', '--node', '2', '--detach', '--json', '--', '/bin/sleep', '1000'],
    );
    expect(run.pid).toBeGreaterThan(0);
    stopped = true;
    await cluster.stop();
    expect(footprint(cluster.name)).toMatchObject({
      processes: [],
      pidNamespaces: [],
      links: [],
      cgroups: [],
      nftTables: [],
      folders: [],
    });
    expect((await cluster.ssi('down')).code).toBe(1);
  });
});
