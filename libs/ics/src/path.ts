// The ways to one server: which transports reach it now, how fast each is, which stopped answering.
// The fastest healthy one is taken; another one must be clearly faster before the traffic changes over.
import type { TransportName } from '@ssi/contracts';
import type { Transport } from './transport.ts';

const rtoMinMs = 100;
export const rtoMaxMs = 2_000;
const rtoFirstMs = 250;
/** A way where nobody was there is left alone this long, unless there is no other. */
const refusedMs = 50;
/** A suspect way is asked again this often, an idle healthy one this often. */
const probeSuspectMs = 500;
const probeIdleMs = 5_000;
/** Before this many answers (the first one waits for the connection) a way is asked this often. */
const provedAfter = 3;
const probeNewMs = 100;
/** The best of so many hellos counts. */
const hellosKept = 4;
/** Another way must have at most this part of the present one's round trip. */
const changeOver = 0.7;

export interface Path {
  readonly transport: Transport;
  /** Smoothed round trip without the server's own time, ms. */
  srttMs: number | undefined;
  /**
   * Round trips of the newest hellos, ms: ways are compared by the best of them, since all are asked at the
   * same moment, and a busy machine only ever adds to one. That of calls contains how long they wait for
   * each other, on the way in use only.
   */
  helloMs: readonly number[];
  hellos: number;
  suspect: boolean;
  heardMs: number;
  sentMs: number;
  probedMs: number;
  downUntilMs: number;
}

/** Measured ones are compared with measured ones: the first hellos of a process that has just begun are slow. */
function estimates(a: Path, b: Path): readonly [number, number] {
  const proved = a.hellos >= provedAfter && b.hellos >= provedAfter;
  if (!proved) return [a.transport.guessMs, b.transport.guessMs];
  return [Math.min(...a.helloMs), Math.min(...b.helloMs)];
}

export class Paths {
  readonly all: readonly Path[];
  readonly #node: number;
  readonly #contract: string;
  #current: Path | undefined;

  constructor(transports: readonly Transport[], node: number, contract: string, nowMs: number) {
    this.#node = node;
    this.#contract = contract;
    this.all = transports.map((transport) => ({
      transport,
      srttMs: undefined,
      helloMs: [],
      hellos: 0,
      suspect: false,
      heardMs: 0,
      sentMs: 0,
      probedMs: nowMs,
      downUntilMs: 0,
    }));
  }

  get current(): Path | undefined {
    return this.#current;
  }

  of(name: TransportName): Path | undefined {
    for (const p of this.all) if (p.transport.name === name) return p;
    return undefined;
  }

  ready(p: Path): boolean {
    return p.transport.ready(this.#node, this.#contract);
  }

  /** Every transport is well and knows of no server there. */
  get absent(): boolean {
    return this.all.every((p) => !this.ready(p) && p.transport.absent(this.#node, this.#contract));
  }

  /** Where nobody was just now is not tried, so that a call does not run in circles. */
  choose(nowMs: number, avoid?: TransportName): Path | undefined {
    let best: Path | undefined;
    let count = 0;
    for (const p of this.all) {
      const name = p.transport.name;
      if (p.downUntilMs > nowMs || !this.ready(p)) continue;
      count++;
      if (name === avoid) continue;
      if (!best || better(p, best)) best = p;
    }
    if (!best) return count > 0 && avoid !== undefined ? this.choose(nowMs) : undefined;
    if (avoid !== undefined) return best;
    const now = this.#current;
    const keep =
      now &&
      now !== best &&
      !now.suspect &&
      now.downUntilMs <= nowMs &&
      this.ready(now) &&
      !isClearlyFaster(best, now);
    if (!keep) this.#current = best;
    return this.#current;
  }

  /** The ways to be asked now how they are: all, when one other than the present one is due. */
  toProbe(nowMs: number): readonly Path[] {
    for (const p of this.all) {
      if (p === this.#current || nowMs - p.probedMs < probeEveryMs(p) || !this.ready(p)) continue;
      return this.all.filter((way) => this.ready(way));
    }
    return [];
  }

  heard(name: TransportName, nowMs: number): void {
    const p = this.of(name);
    if (!p) return;
    p.heardMs = nowMs;
    p.suspect = false;
    p.downUntilMs = 0;
  }

  measured(name: TransportName, rttMs: number): void {
    const p = this.of(name);
    if (!p) return;
    const rtt = Math.max(0.001, rttMs);
    p.srttMs = p.srttMs === undefined ? rtt : p.srttMs + (rtt - p.srttMs) / 8;
  }

  greeted(name: TransportName, rttMs: number): void {
    this.measured(name, rttMs);
    const p = this.of(name);
    if (!p) return;
    // The first one does not count: it waited for the connection.
    if (p.hellos++ > 0) p.helloMs = [...p.helloMs, rttMs].slice(-hellosKept);
  }

  /** No answer in time to what was sent at `sentMs`: suspect, unless something came since. */
  missed(name: TransportName, sentMs: number): void {
    const p = this.of(name);
    if (p && p.heardMs < sentMs) p.suspect = true;
  }

  refused(name: TransportName, nowMs: number): void {
    const p = this.of(name);
    if (p) p.downUntilMs = nowMs + refusedMs;
  }

  broke(name: TransportName): void {
    const p = this.of(name);
    if (p) p.suspect = true;
  }

  /** Connected anew, or another address: what was held against it counts no more. */
  renewed(name: TransportName): void {
    const p = this.of(name);
    if (!p) return;
    p.suspect = false;
    p.downUntilMs = 0;
    p.helloMs = [];
    p.hellos = 0;
  }

  rtoMs(p: Path): number {
    if (p.srttMs === undefined) return rtoFirstMs;
    return Math.min(rtoMaxMs, Math.max(rtoMinMs, 4 * p.srttMs));
  }
}

const probeEveryMs = (p: Path): number =>
  p.suspect ? probeSuspectMs : p.hellos < provedAfter ? probeNewMs : probeIdleMs;

/** Healthy before suspect; the faster of two healthy ones; of two suspect ones the longer unused. */
function better(a: Path, b: Path): boolean {
  if (a.suspect !== b.suspect) return !a.suspect;
  if (a.suspect) return a.sentMs < b.sentMs;
  const [ofA, ofB] = estimates(a, b);
  return ofA < ofB;
}

function isClearlyFaster(a: Path, b: Path): boolean {
  const [ofA, ofB] = estimates(a, b);
  return ofA <= changeOver * ofB;
}
