// The seeded network: packets between hosts, over directed links that delay, lose, repeat, hold and
// cut. What is carried is the caller's: a packet is a function that is called where it arrives, or not.
import type { SimClock } from './sim-clock.ts';
import type { SimRandom } from './sim-random.ts';

/** Host numbers: nodes have their own, clients live on 0, the broker on this. */
export const brokerHost = -1;

export interface LinkQuality {
  /** Part of the packets that never arrive. */
  readonly lossPart: number;
  /** Part that arrive twice. */
  readonly twicePart: number;
  /** One way, ms: uniform between the two; packets overtake each other. */
  readonly delayMs: readonly [number, number];
  /** Part that take `late` times as long. */
  readonly latePart: number;
  readonly late: number;
}

export const goodLink: LinkQuality = {
  lossPart: 0,
  twicePart: 0,
  delayMs: [0.1, 0.6],
  latePart: 0.002,
  late: 20,
};

/** `hold`: what is sent waits and arrives after it heals, as TCP does; `cut`: it is lost. */
export type LinkState = 'open' | 'hold' | 'cut';

interface Link {
  state: LinkState;
  quality: LinkQuality;
  held: (() => void)[];
}

/** Packets that wait on a link that is held; past it they are lost. */
const heldMax = 10_000;

export class SimNet {
  readonly clock: SimClock;
  readonly #random: SimRandom;
  readonly #links = new Map<number, Link>();
  readonly #slowMs = new Map<number, number>();
  /** Sees every packet where it is sent, with what it carries. */
  onPacket: ((from: number, to: number, load: unknown) => void) | undefined;
  #packets = 0;
  #mix = 0;

  constructor(clock: SimClock, random: SimRandom) {
    this.clock = clock;
    this.#random = random;
  }

  /** Packets sent so far, and a number that differs when any was sent at another time. */
  get counted(): { packets: number; mix: number } {
    return { packets: this.#packets, mix: this.#mix >>> 0 };
  }

  /** One packet. Within a host nothing is lost. */
  send(from: number, to: number, arrive: () => void, load?: unknown): void {
    this.#packets++;
    this.onPacket?.(from, to, load);
    this.#mix =
      (Math.imul(this.#mix ^ (from * 1031 + to), 0x01000193) + this.clock.nowMs() * 64) | 0;
    if (from === to) {
      this.clock.after(this.#random.between(0.02, 0.08), arrive);
      return;
    }
    const link = this.#link(from, to);
    const { lossPart, twicePart } = link.quality;
    if (link.state === 'cut' || this.#random.chance(lossPart)) return;
    this.#carry(from, to, link, arrive);
    if (twicePart > 0 && this.#random.chance(twicePart)) this.#carry(from, to, link, arrive);
  }

  /** Sets one direction. */
  setLink(from: number, to: number, state: LinkState): void {
    const link = this.#link(from, to);
    link.state = state;
    if (state === 'cut') link.held = [];
    if (state !== 'open') return;
    for (const arrive of link.held.splice(0)) this.#carry(from, to, link, arrive);
  }

  state(from: number, to: number): LinkState {
    return from === to ? 'open' : this.#link(from, to).state;
  }

  setQuality(from: number, to: number, quality: LinkQuality): void {
    this.#link(from, to).quality = quality;
  }

  /** Every packet from and to this host takes so much longer. 0: no more. */
  setSlow(host: number, ms: number): void {
    if (ms > 0) this.#slowMs.set(host, ms);
    else this.#slowMs.delete(host);
  }

  /** All links as at the beginning; what was held arrives. */
  heal(): void {
    this.#slowMs.clear();
    for (const [key, link] of this.#links) {
      link.quality = goodLink;
      this.setLink(Math.floor(key / hostsMax) - 1, (key % hostsMax) - 1, 'open');
    }
  }

  #carry(from: number, to: number, link: Link, arrive: () => void): void {
    const { delayMs, latePart, late } = link.quality;
    let ms = this.#random.between(delayMs[0], delayMs[1]);
    if (this.#random.chance(latePart)) ms *= late;
    ms += (this.#slowMs.get(from) ?? 0) + (this.#slowMs.get(to) ?? 0);
    this.clock.after(ms, () => {
      // The link may have gone while it was on its way.
      if (link.state === 'open') arrive();
      else if (link.state === 'hold' && link.held.length < heldMax) link.held.push(arrive);
    });
  }

  #link(from: number, to: number): Link {
    const key = (from + 1) * hostsMax + (to + 1);
    let link = this.#links.get(key);
    if (!link) {
      link = { state: 'open', quality: goodLink, held: [] };
      this.#links.set(key, link);
    }
    return link;
  }
}

/** Above every host number. */
const hostsMax = 2_048;
