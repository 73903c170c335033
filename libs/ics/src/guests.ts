// What one person may take of a server, so that the others still get theirs: frames a second, channels,
// calls whose replies are kept. Services of nodes, and admins, are trusted with it.
import { parsePrincipal } from '@ssi/contracts';

/** Far above what commands need; a frame is looked at in some 10 us. */
export const framesPerSecond = 20_000;
const channelsMax = 1_024;
/** Of the 65,536 replies that a server keeps, and of the 1,280 calls that one lane holds. */
const callsMax = 256;
/** Early frames that wait for a missing one, of all persons together, bytes. */
const earlyMaxBytes = 16 * 1024 * 1024;

interface Guest {
  frames: number;
  atMs: number;
  channels: number;
  calls: number;
}

type Who = { readonly node: number; readonly service?: string | undefined };

export class Guests {
  readonly #guests = new Map<string, Guest>();
  #earlyBytes = 0;
  flooded = 0;

  /** undefined: nobody that is held back. */
  #of({ node, service }: Who): Guest | undefined {
    if (node !== 0 || service === undefined) return undefined;
    const known = this.#guests.get(service);
    if (known) return known;
    const person = parsePrincipal(service);
    if (!person || person.role === 'admin') return undefined;
    const guest = { frames: framesPerSecond, atMs: 0, channels: 0, calls: 0 };
    this.#guests.set(service, guest);
    return guest;
  }

  /** Before anything of a frame is looked at. False: dropped, as if the network had lost it. */
  mayEnter(who: Who, nowMs: number): boolean {
    const guest = this.#of(who);
    if (!guest) return true;
    const gained = ((nowMs - guest.atMs) * framesPerSecond) / 1_000;
    guest.frames = Math.min(framesPerSecond, guest.frames + gained) - 1;
    guest.atMs = nowMs;
    if (guest.frames >= 0) return true;
    guest.frames = 0;
    this.flooded++;
    return false;
  }

  mayOpenChannel(who: Who): boolean {
    const guest = this.#of(who);
    if (!guest || guest.channels < channelsMax) return true;
    this.flooded++;
    return false;
  }

  mayCall(who: Who): boolean {
    const guest = this.#of(who);
    if (!guest || guest.calls < callsMax) return true;
    this.flooded++;
    return false;
  }

  mayWait(who: Who, bytes: number): boolean {
    return !this.#of(who) || this.#earlyBytes + bytes <= earlyMaxBytes;
  }

  channels(who: Who, change: 1 | -1): void {
    const guest = this.#of(who);
    if (guest) guest.channels += change;
  }

  calls(who: Who, change: 1 | -1): void {
    const guest = this.#of(who);
    if (guest) guest.calls += change;
  }

  waiting(who: Who, bytes: number): void {
    if (this.#of(who)) this.#earlyBytes += bytes;
  }
}
