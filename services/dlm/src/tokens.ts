// Fencing tokens as the directory node hands them out: blocks of n for one transid, none of them twice,
// also not by the next life of this service. [design: fencing tokens]

import type { Reserved, TokenRecord } from './ports.ts';
import type { Token } from './resource.ts';

/** n of a token is below this. */
export const tokensMax = 2 ** 35;
/** Tokens in the first block of a mastership, and in each later one. */
export const firstBlock = 64;
export const nextBlock = 65_536;
/** So many are reserved at a time: one write of the record for some 16,000 masterships. */
const reserveStep = 2 ** 20;

export interface Block {
  readonly transid: number;
  readonly first: number;
  readonly last: number;
}

export const isNewer = (a: Token, b: Token): boolean =>
  a.transid > b.transid || (a.transid === b.transid && a.n > b.n);
export const isSame = (a: Token | undefined, b: Token): boolean =>
  a?.transid === b.transid && a.n === b.n;
/** The first token of a mastership names it. */
export const nameOf = (tokens: Block): Token => ({ transid: tokens.transid, n: tokens.first });

export const tokenText = (t: Token): string =>
  ((BigInt(t.transid) << 35n) + BigInt(t.n)).toString();

export function tokenOf(text: string): Token {
  const token = BigInt(text);
  return { transid: Number(token >> 35n), n: Number(token & (2n ** 35n - 1n)) };
}

export class TokenSource {
  readonly #record: TokenRecord;
  #transid = 0;
  #next = 1;
  #reserved = 0;
  #starts = 0;
  #loaded: Promise<Reserved | undefined> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(record: TokenRecord) {
    this.#record = record;
  }

  /** The number of this start of the service in this boot of its node: on record before it is used. */
  async start(): Promise<number> {
    this.#loaded ??= this.#record.load();
    const former = await this.#loaded;
    this.#starts = (former?.starts ?? 0) + 1;
    await this.#save(former?.transid ?? 0, former?.n ?? 0);
    return this.#starts;
  }

  #save(transid: number, n: number): Promise<void> {
    return this.#record.save({ transid, n, starts: this.#starts });
  }

  /** undefined: those of this transid are used up, the next transition brings more. */
  block(transid: number, size: number): Promise<Block | undefined> {
    const mine = this.#turn.then(() => this.#take(transid, size));
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #take(asked: number, size: number): Promise<Block | undefined> {
    this.#loaded ??= this.#record.load();
    const former = await this.#loaded;
    if (former && this.#reserved === 0 && former.transid > this.#transid) {
      this.#transid = former.transid;
      this.#next = former.n + 1;
      this.#reserved = former.n;
    }
    if (asked > this.#transid) {
      this.#transid = asked;
      this.#next = 1;
      this.#reserved = 0;
    }
    const first = this.#next;
    const last = first + size - 1;
    if (last >= tokensMax) return undefined;
    if (last > this.#reserved) {
      const n = Math.min(tokensMax, last + reserveStep);
      await this.#save(this.#transid, n);
      this.#reserved = n;
    }
    this.#next = last + 1;
    return { transid: this.#transid, first, last };
  }
}
