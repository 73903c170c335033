// The whole cluster in one process: nodes, what is observed of them, and the means to hurt them.
import type { ActorHost } from '@ssi/client';
import { Life } from '@ssi/sim';
import { CallWatch, type StepRun } from './calls.ts';
import { SimNode } from './node.ts';
import type { Plant } from './plants.ts';
import type { TallyEvent } from './tally-actor.ts';
import type { World } from './world.ts';

export interface ClusterOptions {
  readonly world: World;
  readonly nodes: number;
  readonly plant?: Plant | undefined;
  /** The lock manager itself in place of its stand-in; default false. */
  readonly locks?: boolean;
}

export class SimCluster {
  readonly world: World;
  readonly nodes: readonly SimNode[];
  readonly calls: CallWatch;
  /** How often each token was run by a probe, and where. */
  readonly probed = new Map<string, number[]>();
  readonly #stepListeners: ((run: StepRun) => void)[] = [];
  #actorRan: (pid: number, event: TallyEvent) => void = () => {};
  #hostEnds: (host: ActorHost) => void = () => {};

  constructor({ world, nodes, plant, locks = false }: ClusterOptions) {
    this.world = world;
    this.calls = new CallWatch(world, (run) => {
      for (const listener of this.#stepListeners) listener(run);
    });
    this.nodes = Array.from(
      { length: nodes },
      (_, i) =>
        new SimNode({
          num: i + 1,
          world,
          calls: this.calls,
          plant,
          locks,
          onProbe: (node, token) => {
            const ran = this.probed.get(token) ?? [];
            ran.push(node);
            this.probed.set(token, ran);
          },
          onActorRan: (pid, event) => this.#actorRan(pid, event),
          onHostEnds: (host) => this.#hostEnds(host),
        }),
    );
  }

  onStep(fn: (run: StepRun) => void): void {
    this.#stepListeners.push(fn);
  }

  /** An actor counted an event. */
  onActorRan(fn: (pid: number, event: TallyEvent) => void): void {
    this.#actorRan = fn;
  }
  /** A host of actors has just died, or hears that its node's life has. */
  onHostEnds(fn: (host: ActorHost) => void): void {
    this.#hostEnds = fn;
  }

  node(num: number): SimNode {
    const node = this.nodes[num - 1];
    if (!node) throw new Error(`no node ${num}`);
    return node;
  }

  start(): void {
    for (const node of this.nodes) node.start();
  }

  /** A life outside the nodes, for a client. */
  clientLife(name: string): Life {
    return new Life({ name, world: this.world.clock });
  }
}
