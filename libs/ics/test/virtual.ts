// A virtual clock, and a lossy network of transports on it: everything is decided by the seed.
import type { TransportName } from '@ssi/contracts';
import type { Clock, Random, Timer } from '@ssi/ports';
import type { Outgoing, Receiver, Transport, Via } from '../src/transport.ts';

interface Pending {
  readonly atMs: number;
  readonly order: number;
  readonly fn: () => void;
  off: boolean;
}

export class VirtualClock implements Clock {
  #now = 1_000;
  #order = 0;
  #timers: Pending[] = [];

  nowMs(): number {
    return this.#now;
  }
  wallMs(): number {
    return this.#now;
  }
  after(delayMs: number, fn: () => void): Timer {
    const timer = { atMs: this.#now + Math.max(0, delayMs), order: this.#order++, fn, off: false };
    this.#timers.push(timer);
    return {
      cancel: () => {
        timer.off = true;
      },
    };
  }

  /** Runs timers and what they cause in order, up to `untilMs` or until nothing is left before it. */
  async run(untilMs: number): Promise<void> {
    for (;;) {
      await settle();
      this.#timers = this.#timers.filter((t) => !t.off);
      let next: Pending | undefined;
      for (const t of this.#timers)
        if (!next || t.atMs < next.atMs || (t.atMs === next.atMs && t.order < next.order)) next = t;
      if (!next || next.atMs > untilMs) break;
      next.off = true;
      this.#now = Math.max(this.#now, next.atMs);
      next.fn();
    }
    this.#now = Math.max(this.#now, untilMs);
  }
}

/** Lets every promise that can go on do so. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

export interface Faults {
  /** Probabilities, 0..1. */
  drop: number;
  duplicate: number;
  /** A frame takes up to this long, ms; above 0 frames overtake each other. */
  delayMs: number;
}

/** Endpoints by `node/contract` for servers and `node-service` for callers. */
export class SimNet {
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #servers = new Map<string, Receiver>();
  readonly #callers = new Map<string, Receiver>();
  faults: Faults;
  /** Transports that carry nothing now. */
  readonly cut = new Set<TransportName>();
  /** Callers that hear nothing now. */
  readonly deaf = new Set<string>();

  constructor(clock: VirtualClock, random: Random, faults: Faults) {
    this.#clock = clock;
    this.#random = random;
    this.faults = faults;
  }

  transport(node: number, service: string, name: TransportName = 'memory'): Transport {
    const me = `${name}:${node}-${service}`;
    let receiver: Receiver | undefined;
    const served: string[] = [];
    const backTo = (to: { node: number; service: string }): Via => ({
      transport: name,
      send: (frame) => {
        this.#carry(name, () => this.#hearing(`${name}:${to.node}-${to.service}`), frame, {
          transport: name,
          send: () => false,
        });
        return true;
      },
    });
    return {
      name,
      guessMs: name === 'tcp' ? 1 : 2,
      mayDuplicate: this.faults.duplicate > 0,
      open: (r) => {
        receiver = r;
        this.#callers.set(me, r);
      },
      serve: (contract) => {
        if (!receiver) return;
        served.push(`${name}:${node}/${contract}`);
        this.#servers.set(`${name}:${node}/${contract}`, receiver);
      },
      ready: () => true,
      absent: () => false,
      send: (out: Outgoing) => {
        const key = `${name}:${out.to}/${out.contract}`;
        this.#carry(name, () => this.#servers.get(key), out.frame, backTo({ node, service }));
      },
      backTo,
      close: async () => {
        if (this.#callers.get(me) === receiver) this.#callers.delete(me);
        for (const key of served)
          if (this.#servers.get(key) === receiver) this.#servers.delete(key);
        receiver = undefined;
      },
    };
  }

  #hearing(caller: string): Receiver | undefined {
    return this.deaf.has(caller) ? undefined : this.#callers.get(caller);
  }

  #carry(name: TransportName, to: () => Receiver | undefined, frame: Uint8Array, via: Via): void {
    const copies = this.#random.float() < this.faults.duplicate ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.#random.float() < this.faults.drop) continue;
      const delayMs = 0.1 + this.#random.float() * this.faults.delayMs;
      this.#clock.after(delayMs, () => {
        if (!this.cut.has(name)) to()?.frame(Uint8Array.from(frame), via);
      });
    }
  }
}
