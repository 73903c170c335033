// One run: a world from a seed, a cluster that forms, users at work, faults, then everything healed and
// a bounded time to come to rest. What it returns can be compared and read.
import { ActorWork } from './actor-work.ts';
import { ActorsChecker } from './checkers/actors.ts';
import { Changes } from './checkers/changes.ts';
import type { Checker } from './checkers/checker.ts';
import { CopiesChecker } from './checkers/copies.ts';
import { ExcludedChecker } from './checkers/excluded.ts';
import { KeyServiceChecker } from './checkers/key-service.ts';
import { LossesChecker } from './checkers/losses.ts';
import { ProbesChecker } from './checkers/probes.ts';
import { unsettled } from './checkers/settled.ts';
import { StepsChecker } from './checkers/steps.ts';
import { ViewsChecker } from './checkers/views.ts';
import { SimCluster } from './cluster.ts';
import { drawFaults, type Fault, healAll, schedule } from './faults.ts';
import type { Plant } from './plants.ts';
import { type Tally, Workload } from './workload.ts';
import { Violation, World } from './world.ts';

export interface RunOptions {
  readonly seed: number;
  readonly nodes?: number;
  /** Time of the faults, ms; the cluster forms before, rests after. */
  readonly faultyMs?: number;
  /** In place of the faults that the seed draws. */
  readonly faults?: readonly Fault[];
  readonly plant?: Plant;
  readonly trace?: boolean;
  /** Users of programs; default 2. */
  readonly clients?: number;
  /** Whether actors are at work too; default true. */
  readonly actors?: boolean;
}

export interface RunResult {
  readonly seed: number;
  /** undefined: every invariant held. */
  readonly failure: string | undefined;
  readonly checker: string | undefined;
  readonly faults: readonly Fault[];
  readonly hash: string;
  readonly simulatedMs: number;
  readonly events: number;
  readonly tally: Tally;
  readonly transcript: readonly string[];
}

const formMs = 3_000;
/** From the healing until nothing moves any more, at most. */
const restMs = 20_000;
const restLookMs = 250;
/** Until every origin knows its processes, at most. */
const agreeMs = 6_000;
/** At rest is at rest: looked at again after this. */
const stayMs = 1_500;

export async function simulate(options: RunOptions): Promise<RunResult> {
  const { seed, nodes = 3, faultyMs = 25_000 } = options;
  const world = new World(seed, { trace: options.trace ?? false });
  const cluster = new SimCluster({ world, nodes, plant: options.plant });
  const views = new ViewsChecker(cluster);
  const losses = new LossesChecker(cluster);
  const probes = new ProbesChecker(cluster);
  const mailbox = new ActorsChecker(cluster, views);
  const checkers: Checker[] = [
    views,
    new CopiesChecker(cluster),
    new ExcludedChecker(cluster, views),
    new StepsChecker(cluster, views),
    new KeyServiceChecker(cluster),
    losses,
    probes,
    mailbox,
  ];
  const changes = new Changes(cluster);
  const always = checkers.filter((c) => c.afterEach !== undefined);
  const onChange = checkers.filter((c) => c.afterChange !== undefined);
  world.clock.afterEach = () => {
    for (const c of always) c.afterEach?.();
    if (changes.look()) for (const c of onChange) c.afterChange?.();
    if (world.violation) throw world.violation;
  };
  const { clients = 2, plant } = options;
  const workload = new Workload({ cluster, losses, probes, mailbox, clients, plant });
  const actors = new ActorWork(cluster, mailbox, workload.tally);
  const faults =
    options.faults ??
    drawFaults({
      random: world.random('faults'),
      nodes,
      fromMs: formMs,
      untilMs: formMs + faultyMs,
      everyMs: world.random('pace').between(800, 5_000),
    });

  const body = async (): Promise<void> => {
    cluster.start();
    await world.clock.run(formMs);
    const formed = unsettled(cluster, views);
    if (formed) throw new Violation('forms', `after ${formMs} ms ${formed}`);
    schedule(cluster, faults);
    workload.start();
    if (options.actors ?? true) actors.start();
    await world.clock.run(formMs + faultyMs);
    healAll(cluster);
    workload.stop();
    actors.stop();
    await rest(world, cluster, views);
    for (const c of checkers) c.atEnd?.();
    await agree(world, cluster, workload);
    await answer(world, actors);
  };

  let failure: string | undefined;
  let checker: string | undefined;
  // Where nobody waits for it: a service that throws would end its process.
  const thrown = (error: unknown): void => world.violated('crash', stackOf(error));
  process.on('unhandledRejection', thrown);
  try {
    await body();
  } catch (error) {
    checker = error instanceof Violation ? error.checker : 'crash';
    failure = error instanceof Violation ? error.message : stackOf(error);
    world.journal.event('checker', failure);
  } finally {
    process.off('unhandledRejection', thrown);
  }
  return {
    seed,
    failure,
    checker,
    faults,
    hash: world.hash(),
    simulatedMs: world.clock.nowMs(),
    events: world.clock.events,
    tally: workload.tally,
    transcript: world.journal.lines(),
  };
}

const stackOf = (error: unknown): string =>
  (error instanceof Error ? error.stack : undefined) ?? String(error);

async function rest(world: World, cluster: SimCluster, views: ViewsChecker): Promise<void> {
  const endMs = world.clock.nowMs() + restMs;
  let why: string | undefined = 'not looked yet';
  let sinceMs = Number.POSITIVE_INFINITY;
  while (world.clock.nowMs() < endMs) {
    await world.clock.run(world.clock.nowMs() + restLookMs);
    why = unsettled(cluster, views);
    if (why) sinceMs = Number.POSITIVE_INFINITY;
    else sinceMs = Math.min(sinceMs, world.clock.nowMs());
    if (world.clock.nowMs() - sinceMs >= stayMs) return;
  }
  throw new Violation('comes to rest', `${restMs} ms after all was healed: ${why}`);
}

/** Every origin knows where its processes are, or learns it in bounded time. */
async function agree(world: World, cluster: SimCluster, workload: Workload): Promise<void> {
  const endMs = world.clock.nowMs() + agreeMs;
  for (;;) {
    const told = new Map<number, number | string>();
    for (const node of cluster.nodes)
      for (const pid of node.machine.processes.keys())
        void workload.ask(pid).then((at) => told.set(pid, at));
    await world.clock.run(world.clock.nowMs() + restLookMs);
    const wrong = cluster.nodes.flatMap(({ num, machine }) =>
      [...machine.processes.keys()]
        .filter((pid) => told.get(pid) !== num)
        .map((pid) => `${pid} is on node ${num}, its origin says ${told.get(pid)}`),
    );
    if (wrong.length === 0) return;
    if (world.clock.nowMs() > endMs) throw new Violation('origin', wrong.join('; '));
  }
}

/** Every actor that is there answers. */
async function answer(world: World, actors: ActorWork): Promise<void> {
  let why: string | undefined = 'no answer';
  void actors.asked().then((answered) => {
    why = answered;
  });
  const endMs = world.clock.nowMs() + agreeMs;
  while (why !== undefined && world.clock.nowMs() < endMs)
    await world.clock.run(world.clock.nowMs() + restLookMs);
  if (why !== undefined) throw new Violation('actors answer', why);
}
