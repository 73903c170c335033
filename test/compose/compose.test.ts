// compose.yaml as a newcomer starts it: three nodes of six containers each. What is done to one container
// is nobody else's business; what is done to a node's six is a power loss of that node.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from '../harness/busy.ts';
import { type ComposeCluster, docker, startCompose } from '../harness/compose.ts';
import { type Steady, startSteady } from '../harness/steady.ts';
import { waitUntil } from '../harness/wait-until.ts';

const project = `ssi-test-${process.pid}`;
const nextImage = `${project}:next`;
const services = ['membership', 'ics-router', 'dlm', 'ipc-nameserver', 'vproc'] as const;
const nums = [1, 2, 3] as const;

describe('compose', { timeout: 150_000 }, () => {
  let cluster: ComposeCluster;
  let steady: Steady;
  beforeAll(async () => {
    process.env.SSI_NEXT_IMAGE = nextImage;
    cluster = await startCompose(project);
  }, 400_000);
  afterAll(async () => {
    steady?.stop();
    await cluster?.stop();
    await docker('image', 'rm', '--force', nextImage).catch(() => {});
  }, 60_000);

  test('forms: every container is healthy, three nodes are UP, and `ssi` works in each and beside them', async () => {
    await cluster.waitForStates({ 1: 'UP', 2: 'UP', 3: 'UP' });
    const health = await cluster.health();
    const wanted = [
      ...['nats', 'redis', 'otlp'],
      ...nums.flatMap((n) => [`node${n}`, ...services.map((s) => `node${n}-${s}`)]),
    ];
    expect(wanted.filter((s) => health.get(s) !== 'healthy')).toEqual([]);
    const inside = JSON.parse(await cluster.inNode(3, 'nodes', '--json')) as { state: string }[];
    expect(inside.map((n) => n.state)).toEqual(['UP', 'UP', 'UP']);
    const beside = await cluster.compose(
      'run',
      '--rm',
      '--no-deps',
      '-T',
      'ssi',
      'nodes',
      '--json',
    );
    expect((JSON.parse(beside) as unknown[]).length).toBe(3);
  });

  test('each container sees its own keys only', async () => {
    const seen = async (container: string, folder = '/run/ssi/clusters/ssi'): Promise<string[]> => {
      const find = [
        'find',
        folder,
        '-type',
        'f',
        '-not',
        '-path',
        '*/store/*',
        '-not',
        '-name',
        'health-*',
        '-printf',
        '%P\\n',
      ];
      const said = await cluster.compose('exec', '-T', container, ...find).catch(() =>
        // busybox
        cluster.compose('exec', '-T', container, 'sh', '-c', `cd ${folder} && find * -type f`),
      );
      return said.trim().split('\n').sort();
    };
    const own = (...files: string[]) => [...files, 'cluster.json'].sort();
    const keys = (n: number, ...names: string[]) => names.map((name) => `n${n}/creds/${name}.json`);
    for (const n of nums) {
      const ofNode = own(...keys(n, 'clms', 'vproc', 'actor'), 'user.json');
      expect(await seen(`node${n}`)).toEqual(ofNode);
      expect(await seen(`node${n}-vproc`)).toEqual(ofNode);
      expect(await seen(`node${n}-membership`)).toEqual(own(...keys(n, 'clms')));
      expect(await seen(`node${n}-ics-router`)).toEqual(own(...keys(n, 'ics')));
      expect(await seen(`node${n}-dlm`)).toEqual(own(...keys(n, 'dlm')));
      expect(await seen(`node${n}-ipc-nameserver`)).toEqual(own(...keys(n, 'ipc')));
    }
    expect(await seen('otlp')).toEqual(own('user.json'));
    expect(await seen('nats', '/ssi')).toEqual(['nats/nats.conf', 'nats/users.conf']);
    expect(await seen('redis', '/ssi')).toEqual(['redis/redis.conf']);
  });

  test('a program moves from container to container, and its move is one trace over their services', async () => {
    steady = await startSteady(cluster.ssi, 1, cluster.describe);
    await steady.goOn();
    const moved = value(await cluster.ssi.migrate(steady.counter, 2));
    expect(moved).toMatchObject({ pid: steady.counter, from: 1, to: 2 });
    value(await cluster.ssi.migrate(steady.echo, 2));
    await steady.goOn();
    const spans = await waitUntil(
      'the trace of the move',
      async () => {
        const trace = value(await cluster.ssi.trace(moved.traceId));
        return trace.some((s) => s.name === 'origin.update') && trace.some((s) => !s.parentSpanId)
          ? trace
          : undefined;
      },
      15_000,
    );
    const ids = new Set(spans.map((s) => s.spanId));
    expect(spans.filter((s) => s.parentSpanId !== null && !ids.has(s.parentSpanId))).toEqual([]);
    const names = new Set(spans.map((s) => s.name));
    for (const name of ['negotiate', 'freeze', 'dump', 'transfer', 'restore', 'commit', 'resume'])
      expect(names).toContain(name);
    const containers = new Set(
      spans.filter((s) => s.node > 0).map((s) => `node${s.node}-${s.service}`),
    );
    expect(containers.size).toBeGreaterThanOrEqual(4);
  });

  test('spans of other programs come in by OTLP and show in the same store', async () => {
    const port = (await cluster.compose('port', 'otlp', '4318')).trim().split(':').at(-1);
    const traceId = randomBytes(16).toString('hex');
    const attributes = [{ key: 'service.name', value: { stringValue: 'elsewhere' } }];
    const now = `${Date.now()}000000`;
    const span = { traceId, spanId: '1'.repeat(16), name: 'outside' };
    const spans = [{ ...span, startTimeUnixNano: now, endTimeUnixNano: now }];
    const response = await fetch(`http://127.0.0.1:${port}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans }] }],
      }),
    });
    expect(response.status).toBe(200);
    expect(value(await cluster.ssi.trace(traceId))).toMatchObject([
      { name: 'outside', service: 'elsewhere', node: 0 },
    ]);
  });

  test('NATS stands still for 10 s: nothing dies, nothing freezes, no membership changes', async () => {
    const before = value(await cluster.ssi.view());
    await cluster.compose('pause', 'nats');
    try {
      for (const end = performance.now() + 10_000; performance.now() < end; ) await steady.goOn(20);
    } finally {
      await cluster.compose('unpause', 'nats');
    }
    await steady.goOn();
    // The master may be another one: it gives its voters back if it alone is without the bus.
    const lives = (v: typeof before) => v.members.map((m) => [m.num, m.state, m.incarnation]);
    expect(lives(value(await cluster.ssi.view()))).toEqual(lives(before));
  });

  test.each(services)(
    '%s is replaced, container and all: no process or number is lost',
    async (service) => {
      const before = value(await cluster.ssi.view());
      const lives = (v: typeof before) => v.members.map((m) => m.incarnation.bootCount);
      // The hardest one is the master's; the programs are on node 2.
      for (const num of new Set(service === 'membership' ? [before.master, 2] : [2])) {
        await cluster.compose('up', '-d', '--no-deps', '--force-recreate', `node${num}-${service}`);
        await steady.goOn();
        await cluster.waitHealthy(`node${num}-${service}`);
      }
      expect(lives(value(await cluster.ssi.view()))).toEqual(lives(before));
      for (const to of [3, 2]) {
        const moved = await waitUntil(
          `a move to node ${to}`,
          async () => {
            const reply = await cluster.ssi.migrate(steady.counter, to);
            return reply.ok ? reply.value : undefined;
          },
          20_000,
          cluster.describe,
        );
        expect(moved.to).toBe(to);
      }
      await steady.goOn();
    },
  );

  test('a rolling upgrade of vproc to a changed contract: old and new side by side, each speaks what both know', async () => {
    await docker('build', '-q', '-t', nextImage, 'test/compose/next');
    /** Version in which the origin (node 1) hands a signal on to where the program is (node 2). */
    const spoken = async (): Promise<unknown> => {
      const began = Date.now();
      value(await cluster.ssi.kill(steady.counter, 0));
      return waitUntil(
        'the trace of a signal',
        async () => {
          const recent = value(await cluster.ssi.traces(10));
          const newest = recent.find((t) => t.name === 'ssi.kill' && t.startMs >= began);
          const spans = newest ? value(await cluster.ssi.trace(newest.traceId)) : [];
          const deliver = spans.filter((s) => s.name === 'vproc.deliver' && s.node === 2);
          return deliver.at(-1)?.attributes['ssi.contract.version'];
        },
        10_000,
        cluster.describe,
      );
    };
    expect(await spoken()).toBe(1);
    const seen: unknown[] = [];
    for (const num of nums) {
      await cluster.next('up', '-d', '--no-deps', `node${num}-vproc`);
      await cluster.waitHealthy(`node${num}-vproc`);
      await steady.goOn();
      seen.push(await spoken());
    }
    // Node 1 is new and node 2 old; then both are new.
    expect(seen).toEqual([1, 2, 2]);
    expect(value(await cluster.ssi.migrate(steady.counter, 3)).to).toBe(3);
    expect(value(await cluster.ssi.migrate(steady.echo, 3)).to).toBe(3);
    await steady.goOn();
  });

  test('the containers of the birth node are killed: the programs go on; it comes back as its next life', async () => {
    const life = async () =>
      value(await cluster.ssi.view()).members.find((m) => m.num === 1)?.incarnation.bootCount ?? 0;
    const before = await life();
    const all = ['node1', ...services.map((s) => `node1-${s}`)];
    await cluster.compose('kill', ...all);
    await steady.goOn();
    await cluster.waitForStates({ 1: 'DOWN', 2: 'UP', 3: 'UP' });
    await steady.goOn();
    expect(value(await cluster.ssi.where(steady.counter)).node).toBe(3);
    value(await cluster.ssi.kill(steady.counter, 15));
    expect(value(await cluster.ssi.wait(steady.counter))).toMatchObject({ signal: 'SIGTERM' });
    await cluster.next('up', '-d', ...all);
    await cluster.waitForStates({ 1: 'UP', 2: 'UP', 3: 'UP' }, 90_000);
    expect(await life()).toBeGreaterThan(before);
  });
});
