// Everything of a simulated world that is not a node: clock, network, bus, store, the randomness of each
// purpose, and the transcript. One seed makes one world.
import {
  Journal,
  SimBus,
  SimClock,
  SimDatagrams,
  SimDirect,
  SimNet,
  type SimRandom,
  SimStore,
  SimStreams,
  simRandom,
} from '@ssi/sim';

/** An invariant that does not hold: ends the run. */
export class Violation extends Error {
  readonly checker: string;

  constructor(checker: string, text: string) {
    super(`${checker}: ${text}`);
    this.name = 'Violation';
    this.checker = checker;
  }
}

export class World {
  readonly seed: number;
  readonly clock = new SimClock();
  readonly journal: Journal;
  readonly net: SimNet;
  readonly bus: SimBus;
  readonly direct: SimDirect;
  readonly store: SimStore;
  readonly streams: SimStreams;
  /** Found where nothing may be thrown: ends the run after this event. */
  violation: Violation | undefined;
  readonly #datagrams: SimDatagrams<never>;

  constructor(seed: number, options: { trace?: boolean } = {}) {
    this.seed = seed;
    this.journal = new Journal({ clock: this.clock, trace: options.trace ?? false });
    this.net = new SimNet(this.clock, this.random('net'));
    this.bus = new SimBus(this.net);
    this.direct = new SimDirect(this.net);
    this.store = new SimStore(this.net, this.bus);
    this.streams = new SimStreams(this.net);
    this.#datagrams = new SimDatagrams(this.net, this.bus);
  }

  violated(checker: string, text: string): void {
    this.violation ??= new Violation(checker, text);
  }

  /** The stream of random numbers for one purpose. */
  random(purpose: string): SimRandom {
    return simRandom(this.seed, purpose);
  }

  datagrams<M>(): SimDatagrams<M> {
    return this.#datagrams as unknown as SimDatagrams<M>;
  }

  /** Of all that happened so far: equal for equal runs. */
  hash(): string {
    const { packets, mix } = this.net.counted;
    return `${this.journal.hash()}-${this.clock.events}-${packets}-${mix.toString(16)}`;
  }
}
