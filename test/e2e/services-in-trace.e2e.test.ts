// A service counts in the trace of a move only if the move needs it: each one stopped (SIGSTOP) makes a
// move wait, or fail by the book, and the process lives on exactly once either way.
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program, value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster, waitForStates } from '../harness/cluster.ts';
import { runningCopies } from '../harness/host-proc.ts';
import { numberedOutput } from '../harness/numbered.ts';
import { waitUntil } from '../harness/wait-until.ts';

type Move = ReturnType<Ssi['migrate']>;

/** A move on a busy machine takes a tenth of this. */
const noticeMs = 3_000;

describe.skipIf(!canRunNative)('end to end: services in the trace', { timeout: 60_000 }, () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  let pid = 0;
  const mark = `SSI_TEST_MARK=trace${process.pid}`;
  const output = numberedOutput();
  let [source, target, master] = [0, 0, 0];
  const next = () => output.report().next.get('') ?? 0;
  const goesOn = async (): Promise<void> => {
    const before = next();
    await waitUntil(
      'its output goes on',
      () => next() > before + 20 || output.report().wrong.length > 0,
      15_000,
      cluster.describe,
    );
    expect(output.report().wrong).toEqual([]);
    expect(runningCopies(mark, pid)).toHaveLength(1);
  };
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
    // Neither of the two that take part is the master: stopping that one stops more than a move.
    master = value(await ssi.nodes()).find((n) => n.isMaster)?.num ?? 0;
    [source = 0, target = 0] = [1, 2, 3].filter((n) => n !== master);
    const argv = ['/bin/bash', program('counter.sh')];
    const env = { PATH: '/usr/bin:/bin', SSI_TEST_MARK: `trace${process.pid}` };
    pid = value(await ssi.run({ argv, env, cwd: '/', node: source, noInput: true })).pid;
    void (async () => {
      for await (const event of ssi.attach(pid).events())
        if (event.type === 'data') output.feed(event.bytes);
        else if (event.type === 'failed') output.feed(`BAD ${event.failure.detail}\n`);
    })();
    // Its streams are ours before anything is stopped.
    await goesOn();
  }, 120_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
  });

  /** What of a move had come after `noticeMs`, and a promise of the whole. */
  const startMove = async (
    to: number,
  ): Promise<{ early: Awaited<Move> | undefined; whole: Move }> => {
    const whole = ssi.migrate(pid, to);
    const notice = new Promise<undefined>((done) => setTimeout(() => done(undefined), noticeMs));
    return { early: await Promise.race([whole, notice]), whole };
  };

  const cases = (['ics-router', 'vproc'] as const).flatMap((service) =>
    (['source', 'target'] as const).map((side) => ({ service, side })),
  );
  test.each(cases)(
    '$service of the $side stopped: the move does not get done, and is done after',
    async ({ service, side }) => {
      const stopped = cluster.servicePid(side === 'source' ? source : target, service);
      process.kill(stopped, 'SIGSTOP');
      let attempt: Awaited<ReturnType<typeof startMove>>;
      try {
        attempt = await startMove(target);
        // Either it waits, or it has failed with a reason; it never gets done without this service.
        if (attempt.early) expect(attempt.early).toMatchObject({ ok: false });
        expect(runningCopies(mark, pid)).toHaveLength(1);
        if (service !== 'vproc' || side !== 'source') await goesOn();
      } finally {
        process.kill(stopped, 'SIGCONT');
      }
      const reply = await attempt.whole;
      if (!reply.ok) expect(reply.errno).toMatch(/^(EAGAIN|ETIMEDOUT|EHOSTUNREACH|ECANCELED)$/);
      await goesOn();
      const at = value(await ssi.where(pid)).node;
      expect(at).toBe(reply.ok ? target : source);
      // And with all of them running it works, there or back.
      await waitUntil(
        'a move with every service running',
        async () => (await ssi.migrate(pid, at === source ? target : source)).ok,
        20_000,
        cluster.describe,
      );
      await goesOn();
      if (value(await ssi.where(pid)).node !== source) value(await ssi.migrate(pid, source));
      await goesOn();
    },
  );

  test('membership of the target stopped: the node is excluded, the move ends by the book, the process stays', async () => {
    const stopped = cluster.servicePid(target, 'membership');
    process.kill(stopped, 'SIGSTOP');
    try {
      const reply = await ssi.migrate(pid, target);
      expect(reply).toMatchObject({ ok: false });
      if (!reply.ok) expect(reply.errno).toMatch(/^(EHOSTDOWN|EOPNOTSUPP|EAGAIN|ECANCELED)$/);
      await waitForStates(cluster, { [target]: 'DOWN' });
      await goesOn();
      expect(value(await ssi.where(pid)).node).toBe(source);
    } finally {
      process.kill(stopped, 'SIGCONT');
    }
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' }, 30_000);
    await waitUntil(
      'a move to it when it is back',
      async () => (await ssi.migrate(pid, target)).ok,
      20_000,
      cluster.describe,
    );
    await goesOn();
    [source, target] = [target, source];
  });

  test('membership of the source stopped: node and program end as the rules say, the move does not save it', async () => {
    const stopped = cluster.servicePid(source, 'membership');
    process.kill(stopped, 'SIGSTOP');
    try {
      const whole = ssi.migrate(pid, target);
      await waitForStates(cluster, { [source]: 'DOWN' });
      const reply = await whole;
      expect(reply).toMatchObject({ ok: false });
      if (!reply.ok) expect(reply.errno).toMatch(/^(EHOSTDOWN|ENETDOWN|ESRCH|EAGAIN|ETIMEDOUT)$/);
    } finally {
      process.kill(stopped, 'SIGCONT');
    }
    expect(value(await ssi.wait(pid))).toMatchObject({ signal: 'SIGKILL', reason: 'EHOSTDOWN' });
    await waitUntil('it is gone', () => runningCopies(mark, pid).length === 0, 10_000);
    await waitForStates(cluster, { 1: 'UP', 2: 'UP', 3: 'UP' }, 30_000);
  });
});
