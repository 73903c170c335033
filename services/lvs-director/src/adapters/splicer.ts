// Pairs of connected sockets, each of which gets what the other says. Descriptors of its own and epoll instead of Node's
// streams: a request through them cost twice the CPU. While there is something to do it asks without waiting, once each
// turn of Node's loop; else it waits in another thread.
import {
  closeFd,
  endWriting,
  Poller,
  pollHup,
  pollIn,
  pollOut,
  receive,
  resetSocket,
  transmit,
} from '@ssi/linux';

export interface PairEvents {
  /** One look at end `from` brought so many. */
  bytes(from: 0 | 1, bytes: number): void;
  /** One end has said all. */
  ending(): void;
  /** Both are closed. Once, the last call. */
  ended(): void;
}

interface End {
  readonly fd: number;
  readonly pair: Pair;
  readonly at: 0 | 1;
  /** What it could not take yet; the other is not read from meanwhile. */
  unsent: Buffer | undefined;
  hasEnded: boolean;
}
interface Pair {
  ends: readonly [End, End];
  readonly events: PairEvents;
}

const bufferBytes = 64 * 1_024;
const errAgain = -11;
/** [epoll_ctl(2): EPOLLERR] */
const pollErr = 8;
const idleMs = 10_000;

export class Splicer {
  readonly #ends = new Map<number, End>();
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  #poller: Poller | undefined;

  /** Both are its own from now on. */
  add(fds: readonly [number, number], events: PairEvents): void {
    if (fds[0] < 0 || fds[1] < 0) {
      for (const fd of fds) if (fd >= 0) resetSocket(fd);
      events.ended();
      return;
    }
    const pair = { events } as Pair;
    const end = (at: 0 | 1): End => ({
      ...{ fd: fds[at], pair, at, unsent: undefined, hasEnded: false },
    });
    pair.ends = [end(0), end(1)];
    for (const one of pair.ends) this.#ends.set(one.fd, one);
    if (!this.#poller) {
      this.#poller = new Poller();
      void this.#run(this.#poller);
    }
    for (const { fd } of pair.ends) this.#poller.set(fd, pollIn);
  }

  /** Every pair is reset. */
  clear(): void {
    for (const end of [...this.#ends.values()]) this.#reset(end.pair);
    this.#poller?.wake();
  }

  async #run(poller: Poller): Promise<void> {
    while (this.#ends.size > 0) {
      let ready = poller.now();
      const isBusy = ready.length > 0;
      if (!isBusy) ready = await poller.wait(idleMs);
      for (const { fd, events } of ready) {
        const end = this.#ends.get(fd);
        if (!end) continue;
        if (events & pollOut) this.#flush(end);
        if (events & (pollIn | pollHup | pollErr)) this.#carry(end);
      }
      if (isBusy) await new Promise(setImmediate);
    }
    this.#poller = undefined;
    poller.close();
  }

  /** One look at it: the next is a later turn, so that all have theirs. */
  #carry(end: End): void {
    const { pair, at } = end;
    const other = pair.ends[at === 0 ? 1 : 0];
    if (other.unsent || !this.#ends.has(end.fd)) return;
    const got = receive(end.fd, this.#buffer);
    if (got > 0) {
      pair.events.bytes(at, got);
      this.#give(other, got);
    } else if (got === 0) {
      end.hasEnded = true;
      pair.events.ending();
      if (other.hasEnded) this.#over(pair, closeFd);
      else {
        endWriting(other.fd);
        this.#watch(end);
      }
    } else if (got !== errAgain) this.#reset(pair);
  }

  /** The first `length` bytes of the buffer. */
  #give(to: End, length: number): void {
    const sent = transmit(to.fd, this.#buffer, length);
    if (sent === length) return;
    if (sent < 0 && sent !== errAgain) {
      this.#reset(to.pair);
      return;
    }
    to.unsent = Buffer.from(this.#buffer.subarray(Math.max(0, sent), length));
    for (const one of to.pair.ends) this.#watch(one);
  }

  #flush(end: End): void {
    if (!end.unsent) return;
    const sent = transmit(end.fd, end.unsent, end.unsent.length);
    if (sent < 0) {
      if (sent !== errAgain) this.#reset(end.pair);
      return;
    }
    end.unsent = sent === end.unsent.length ? undefined : end.unsent.subarray(sent);
    if (!end.unsent) for (const one of end.pair.ends) this.#watch(one);
  }

  /** Read from while the other takes it; written to while there is something left. */
  #watch(end: End): void {
    const other = end.pair.ends[end.at === 0 ? 1 : 0];
    const reads = !end.hasEnded && !other.unsent;
    this.#poller?.set(end.fd, (reads ? pollIn : 0) | (end.unsent ? pollOut : 0));
  }

  #reset(pair: Pair): void {
    this.#over(pair, resetSocket);
  }

  #over(pair: Pair, how: (fd: number) => unknown): void {
    if (!this.#ends.has(pair.ends[0].fd)) return;
    for (const { fd } of pair.ends) {
      this.#poller?.set(fd, 0);
      this.#ends.delete(fd);
      how(fd);
    }
    pair.events.ended();
  }
}
