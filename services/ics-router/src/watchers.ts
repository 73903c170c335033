// The services of this node that follow the map: each waits for a map other than the one it has. Asking
// again with the present digest is the proof that a service goes by it.
import type { Clock } from '@ssi/ports';
import type { NodeMap } from './node-map.ts';

/** A wait is answered unchanged after this long, well inside the caller's deadline. */
const waitMaxMs = 30_000;

export interface MapReply {
  readonly map: NodeMap;
  readonly digest: string;
  readonly revoked: readonly string[];
}

interface Waiting {
  readonly digest: string;
  readonly answer: (reply: MapReply) => void;
}

export class Watchers {
  #current: MapReply;
  readonly #waiting = new Map<string, Waiting>();
  /** Digest each service was last known to go by. */
  readonly #holds = new Map<string, string>();
  #settled: (() => void)[] = [];

  readonly #clock: Clock;

  constructor(clock: Clock, current: MapReply) {
    this.#clock = clock;
    this.#current = current;
  }

  get current(): MapReply {
    return this.#current;
  }

  /** Answers everybody who waits with the new map. */
  publish(next: MapReply): void {
    if (next.digest === this.#current.digest) return;
    this.#current = next;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const w of waiting) w.answer(next);
  }

  /** One wait of a service: a newer one of the same service ends it, as does `signal`. */
  wait(service: string, digest: string, signal: AbortSignal): Promise<MapReply> {
    this.#holds.set(service, digest);
    this.#waiting.get(service)?.answer(this.#current);
    if (digest !== this.#current.digest) return Promise.resolve(this.#current);
    this.#settle();
    return new Promise((resolve) => {
      const end = (): boolean => {
        timer.cancel();
        if (this.#waiting.get(service) === waiting) this.#waiting.delete(service);
        else return false;
        resolve(this.#current);
        return true;
      };
      const timer = this.#clock.after(waitMaxMs, end);
      const waiting: Waiting = {
        digest,
        answer: (reply) => {
          timer.cancel();
          resolve(reply);
        },
      };
      this.#waiting.set(service, waiting);
      signal.addEventListener('abort', () => {
        if (!end()) return;
        this.#holds.delete(service);
        this.#settle();
      });
    });
  }

  /** Resolves when every service that follows the map goes by the present one. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settled.push(resolve);
      this.#settle();
    });
  }

  #settle(): void {
    for (const digest of this.#holds.values()) if (digest !== this.#current.digest) return;
    for (const done of this.#settled.splice(0)) done();
  }
}
