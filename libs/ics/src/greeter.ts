// Finds out which life of a server is there before anything is sent to it: hello, repeated over every
// way until `welcome` or until nobody waits any more. Also asks idle ways how they are.
import type { ReplyFrame, TransportName } from '@ssi/contracts';
import type { Clock } from '@ssi/ports';
import type { Deadlines } from './deadlines.ts';
import { type Path, rtoMaxMs } from './path.ts';
import type { Hello, Peer } from './pending.ts';
import type { Wire } from './wire.ts';

/** Pause after "nobody there", growing to the maximum. */
const retryMs = 50;
const retryMaxMs = 500;

export interface GreeterDeps {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly wire: Wire;
  /** Whether anything still waits for this peer. */
  wanted(peer: Peer): boolean;
  /** Every way says that nobody is there. */
  nobody(peer: Peer): void;
}

export class Greeter {
  readonly #d: GreeterDeps;

  constructor(deps: GreeterDeps) {
    this.#d = deps;
  }

  begin(peer: Peer): void {
    if (peer.hello) return;
    const hello: Hello = {
      firstAttempt: this.#d.wire.nextHello,
      attempt: 0,
      sentMs: 0,
      rtoMs: 0,
      retryMs,
      via: undefined,
      dueMs: 0,
      bucket: Number.POSITIVE_INFINITY,
      place: 0,
      done: false,
      fire: () => {
        if (hello.via !== undefined) peer.paths.missed(hello.via, hello.sentMs);
        this.again(peer);
      },
    };
    peer.hello = hello;
    this.again(peer);
  }

  again(peer: Peer): void {
    const hello = peer.hello;
    if (!hello) return;
    if (!this.#d.wanted(peer)) {
      this.stop(peer);
      return;
    }
    const now = this.#d.clock.nowMs();
    const avoid = hello.via !== undefined && peer.paths.of(hello.via)?.suspect;
    const path = peer.paths.choose(now, avoid ? hello.via : undefined);
    if (path) {
      hello.via = path.transport.name;
      hello.sentMs = now;
      hello.rtoMs =
        hello.rtoMs === 0 ? peer.paths.rtoMs(path) : Math.min(rtoMaxMs, 2 * hello.rtoMs);
      path.sentMs = now;
      hello.dueMs = now + hello.rtoMs;
      hello.attempt = this.#d.wire.nextHello;
      this.#d.wire.hello(path, peer);
    } else {
      if (peer.paths.absent) {
        this.#d.nobody(peer);
        if (!this.#d.wanted(peer)) {
          this.stop(peer);
          return;
        }
      }
      hello.via = undefined;
      hello.dueMs = now + hello.retryMs;
      hello.retryMs = Math.min(retryMaxMs, 2 * hello.retryMs);
    }
    this.#d.deadlines.add(hello);
  }

  /** Nobody was there for hello number `attempt`. */
  unreachable(peer: Peer, attempt: number): void {
    const hello = peer.hello;
    if (!hello || attempt !== hello.attempt) return;
    const now = this.#d.clock.nowMs();
    if (peer.paths.choose(now)) {
      this.again(peer);
      return;
    }
    this.#d.nobody(peer);
    if (!this.#d.wanted(peer)) {
      this.stop(peer);
      return;
    }
    hello.via = undefined;
    hello.dueMs = now + hello.retryMs;
    hello.retryMs = Math.min(retryMaxMs, 2 * hello.retryMs);
    this.#d.deadlines.add(hello);
  }

  /** True: this is the answer that was waited for, and no other life's. */
  welcome(peer: Peer, f: ReplyFrame, via: TransportName): boolean {
    const now = this.#d.clock.nowMs();
    const probe = peer.probes.get(via);
    if (probe?.attempt === f.attempt) {
      peer.paths.greeted(via, now - probe.sentMs);
      peer.probes.delete(via);
      return false;
    }
    const hello = peer.hello;
    if (!hello || f.attempt < hello.firstAttempt || f.attempt > hello.attempt) return false;
    if (f.attempt === hello.attempt && hello.via === via)
      peer.paths.greeted(via, now - hello.sentMs);
    this.stop(peer);
    return true;
  }

  /** Asks whether a way that is not in use is well and faster, now and then. */
  probe(peer: Peer): void {
    const now = this.#d.clock.nowMs();
    for (const path of peer.paths.toProbe(now)) this.#ask(peer, path, now);
  }

  /** Asks all of them; one that did not answer the last time is suspect. */
  probeAll(peer: Peer): void {
    const now = this.#d.clock.nowMs();
    for (const path of peer.paths.all) {
      const last = peer.probes.get(path.transport.name);
      if (last) peer.paths.missed(path.transport.name, last.sentMs);
      if (peer.paths.ready(path)) this.#ask(peer, path, now);
      else peer.probes.delete(path.transport.name);
    }
  }

  #ask(peer: Peer, path: Path, now: number): void {
    path.probedMs = now;
    peer.probes.set(path.transport.name, { attempt: this.#d.wire.nextHello, sentMs: now });
    this.#d.wire.hello(path, peer);
  }

  stop(peer: Peer): void {
    if (peer.hello) peer.hello.done = true;
    peer.hello = undefined;
  }
}
