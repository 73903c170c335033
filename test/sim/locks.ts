// One run of the lock manager in the whole cluster: membership, routers and lock managers for real, lock
// clients at work, the faults of a seed, then everything healed. What the clients saw must be what one
// lock would do, seen by one client after another; every call ends; in the end no lock is left.
import { dlm } from '@ssi/contracts';
import { createIcs } from '@ssi/ics';
import { check, lock, picture } from '@ssi/linearizability';
import { unsettled } from './checkers/settled.ts';
import { StepsChecker } from './checkers/steps.ts';
import { ViewsChecker } from './checkers/views.ts';
import { SimCluster } from './cluster.ts';
import { drawFaults, type Fault, healAll, schedule } from './faults.ts';
import { LockWork } from './lock-work.ts';
import type { Plant } from './plants.ts';
import { Violation, World } from './world.ts';

export interface LockRun {
  readonly seed: number;
  readonly faultyMs?: number;
  readonly faults?: readonly Fault[];
  readonly plant?: Plant;
  /** Also locks under locks, and byte ranges. */
  readonly more?: boolean;
  readonly trace?: boolean;
}
export interface LockResult {
  readonly seed: number;
  readonly failure: string | undefined;
  readonly checker: string | undefined;
  readonly faults: readonly Fault[];
  readonly counts: ReadonlyMap<string, number>;
  readonly configurations: number;
  readonly transcript: readonly string[];
}

const formMs = 3_000;
const clients = 5;
/** From the healing until all clients are through, and until no lock is left. */
const endMs = 40_000;

export async function simulateLocks(run: LockRun): Promise<LockResult> {
  const { seed, faultyMs = 20_000 } = run;
  const world = new World(seed, { trace: run.trace ?? false });
  const cluster = new SimCluster({ world, nodes: 3, plant: run.plant, locks: true });
  const views = new ViewsChecker(cluster);
  const steps = new StepsChecker(cluster, views);
  const work = new LockWork(cluster, views, clients, run.more);
  world.clock.afterEach = () => {
    views.afterEach();
    work.look();
    if (world.violation) throw world.violation;
  };
  const faults =
    run.faults ??
    drawFaults({
      random: world.random('faults'),
      ...{ nodes: 3, fromMs: formMs, untilMs: formMs + faultyMs },
      everyMs: world.random('pace').between(800, 5_000),
      about: 'locks',
    });
  let configurations = 0;
  const body = async (): Promise<void> => {
    cluster.start();
    await world.clock.run(formMs);
    schedule(cluster, faults);
    work.start();
    await world.clock.run(formMs + faultyMs);
    healAll(cluster);
    // Some work on the mended cluster: what is stuck shows.
    await world.clock.run(formMs + faultyMs + 5_000);
    work.stop();
    await until(world, 'calls end', () =>
      work.busy > 0 ? `${work.busy} clients wait` : undefined,
    );
    await until(world, 'comes to rest', () => unsettled(cluster, views));
    work.counts.set('moved', await noneLeft(world, cluster));
    (steps as { atEnd?: () => void }).atEnd?.();
  };

  let violation: Violation | undefined;
  const thrown = (error: unknown): void => world.violated('crash', text(error));
  process.on('unhandledRejection', thrown);
  try {
    await body();
  } catch (error) {
    violation = error instanceof Violation ? error : new Violation('crash', text(error));
  } finally {
    process.off('unhandledRejection', thrown);
  }
  // What was seen is judged also where the run ended early.
  const found = check(lock(), work.history, { configurationsMax: 50_000 });
  configurations = found.configurations;
  if (found.outcome === 'not-linearizable')
    violation = new Violation('linearizable', picture(lock(), found));
  if (found.outcome === 'gave-up') violation ??= new Violation('gave up', found.object);
  return {
    ...{ seed, faults, configurations, counts: work.counts },
    failure: violation?.message,
    checker: violation?.checker,
    transcript: world.journal.lines(),
  };
}

const text = (error: unknown): string =>
  (error instanceof Error ? error.stack : undefined) ?? String(error);

/** Runs the world until `why` says nothing more. */
async function until(world: World, checker: string, why: () => string | undefined): Promise<void> {
  const lastMs = world.clock.nowMs() + endMs;
  for (;;) {
    const reason = why();
    if (!reason) return;
    if (world.clock.nowMs() > lastMs) throw new Violation(checker, reason);
    await world.clock.run(world.clock.nowMs() + 250);
  }
}

/**
 * Sessions were closed, or nobody has been heard of in them: no lock is left anywhere. How many masterships the
 * present lives of lock managers have given to other nodes.
 */
async function noneLeft(world: World, cluster: SimCluster): Promise<number> {
  const life = cluster.clientLife('counter');
  const self = { node: 0, service: 'counter' };
  const ics = createIcs({
    ...{ ...self, clock: life.clock, random: world.random('counter'), checkReplies: true },
    transports: [world.bus.transport(self, 0, life)],
  });
  const left = new Map<number, string>();
  const moves = new Map<number, number>();
  const ask = (num: number): void => {
    void ics.call(dlm, 'status', num, {}).then((reply) => {
      const counters: Record<string, number> = reply.ok ? reply.value.counters : { locks: 1 };
      const { locks = 0, mastered = 0, moved = 0 } = counters;
      moves.set(num, moved);
      if (locks + mastered > 0) left.set(num, `node ${num}: ${locks} locks, ${mastered} mastered`);
      else left.delete(num);
    });
  };
  for (const { num } of cluster.nodes) left.set(num, `node ${num} was not asked`);
  await until(world, 'no lock leaked', () => {
    for (const { num } of cluster.nodes) ask(num);
    return [...left.values()].join('; ') || undefined;
  });
  return [...moves.values()].reduce((a, b) => a + b, 0);
}
