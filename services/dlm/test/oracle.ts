// The grant rules of VMS for one resource, written from their description alone and as naively as
// possible: a list of requests in order of arrival, everything looked at anew at every step. It shares
// nothing with the service, so that the two can disagree. ["VAXcluster Principles" chapter 6, as quoted
// by fs/dlm/lock.c; the flags: include/uapi/linux/dlmconstants.h]

export const modes = ['NL', 'CR', 'CW', 'PR', 'PW', 'EX'] as const;
export type Mode = (typeof modes)[number];

/** Held row, asked column. */
const matrix = ['111111', '111110', '111000', '110100', '110000', '100000'];
const compatible = (held: Mode, asked: Mode) =>
  matrix[modes.indexOf(held)]?.[modes.indexOf(asked)] === '1';
const higher = (a: Mode, b: Mode) => modes.indexOf(a) > modes.indexOf(b);

export type Flag =
  | ('QUECVT' | 'EXPEDITE' | 'HEADQUE' | 'NOORDER' | 'ALTPR' | 'ALTCW' | 'NOQUEUE')
  | ('CONVDEADLK' | 'NODLCKWT');

interface Ask {
  readonly mode: Mode;
  readonly flags: readonly Flag[];
  /** Place in its queue: arrivals count up; one with HEADQUE stands before all that came earlier. */
  readonly place: number;
  /** Written to the value block if the conversion leaves PW or EX for a mode that is not higher. */
  readonly value?: string | undefined;
}

/** As asked, else in the mode that a flag names instead; so in fs/dlm/lock.c also while it is queued. */
const alternatives = ({ mode, flags }: Ask): Mode[] => [
  mode,
  ...(flags.includes('ALTPR') ? (['PR'] as const) : []),
  ...(flags.includes('ALTCW') ? (['CW'] as const) : []),
];

interface Lock {
  readonly id: number;
  /** Undefined while it waits for its first grant. */
  held: Mode | undefined;
  /** Undefined when it asks for nothing. */
  ask: Ask | undefined;
}

export interface Standing {
  readonly id: number;
  readonly held: Mode | undefined;
  readonly asked: Mode | undefined;
}

export type Outcome =
  | {
      readonly id: number;
      readonly status: 'granted';
      readonly mode: Mode;
      /** Granted in the mode that ALTPR or ALTCW names. */
      readonly altered: boolean;
      /** The held mode had been taken down to NL to break a conversion deadlock. */
      readonly demoted: boolean;
      /** What the grant reads of the value block. */
      readonly read?: { readonly value: string; readonly valid: boolean };
    }
  | { readonly id: number; readonly status: 'EAGAIN' | 'EDEADLK' | 'ECANCELED' | 'unlocked' };

export class Oracle {
  locks: Lock[] = [];
  value = '';
  valid = true;
  #arrivals = 0;
  #demoted = new Set<number>();
  #outcomes: Outcome[] = [];

  /** A new lock. */
  request(id: number, mode: Mode, flags: readonly Flag[] = []): Outcome[] {
    return this.#ask({ id, held: undefined, ask: undefined }, mode, flags);
  }

  convert(id: number, mode: Mode, flags: readonly Flag[] = [], value?: string): Outcome[] {
    const lock = this.#find(id);
    if (lock.held === undefined || lock.ask) throw new Error('only a granted lock converts');
    return this.#ask(lock, mode, flags, value);
  }

  /** `end` dies: its value block is lost if it could have written it. */
  unlock(id: number, value?: string, end: 'unlock' | 'die' = 'unlock'): Outcome[] {
    const lock = this.#find(id);
    const wrote = lock.held === 'PW' || lock.held === 'EX';
    if (wrote && end === 'die') this.valid = false;
    else if (wrote && value !== undefined) this.#write(value);
    this.locks = this.locks.filter((other) => other !== lock);
    this.#demoted.delete(id);
    this.#outcomes.push({ id, status: 'unlocked' });
    return this.#settle();
  }

  /** Takes back what waits: a conversion leaves what was held, a new request goes. */
  cancel(id: number): Outcome[] {
    const lock = this.#find(id);
    if (!lock.ask) throw new Error('nothing to cancel');
    lock.ask = undefined;
    this.#demoted.delete(id);
    if (lock.held === undefined) this.locks = this.locks.filter((other) => other !== lock);
    this.#outcomes.push({ id, status: 'ECANCELED' });
    return this.#settle();
  }

  /** The granted by id, then who converts, then who waits, as they stand in their queues. */
  state(): Standing[] {
    const idle = this.locks.filter(({ ask }) => !ask).sort((a, b) => a.id - b.id);
    const all = [...idle, ...this.#queue(true), ...this.#queue(false)];
    return all.map(({ id, held, ask }) => ({ id, held, asked: ask?.mode }));
  }

  clone(): Oracle {
    const copy = new Oracle();
    copy.locks = this.locks.map((lock) => ({ ...lock }));
    copy.value = this.value;
    copy.valid = this.valid;
    copy.#arrivals = this.#arrivals;
    copy.#demoted = new Set(this.#demoted);
    return copy;
  }

  #ask(lock: Lock, mode: Mode, flags: readonly Flag[], value?: string): Outcome[] {
    const { id } = lock;
    this.#arrivals += 1;
    const place = flags.includes('HEADQUE') ? -this.#arrivals : this.#arrivals;
    const wish: Ask = { mode, flags, place, value };
    if (!this.locks.includes(lock)) this.locks.push(lock);
    if (this.#grantNow(lock, wish)) return this.#settle();
    if (flags.includes('NOQUEUE')) return this.#refuse(lock, 'EAGAIN');
    if (lock.held && this.#deadlocks(lock, wish)) {
      if (!flags.includes('CONVDEADLK')) return this.#refuse(lock, 'EDEADLK');
      lock.held = 'NL';
      this.#demoted.add(id);
      // What it held may be what other conversions waited for; it comes after them.
      this.#grantWhile(() => this.#queue(true));
      if (this.#grantNow(lock, wish)) return this.#settle();
    }
    lock.ask = wish;
    return this.#settle();
  }

  #refuse(lock: Lock, status: 'EAGAIN' | 'EDEADLK'): Outcome[] {
    if (lock.held === undefined) this.locks = this.locks.filter((other) => other !== lock);
    this.#outcomes.push({ id: lock.id, status });
    return this.#settle();
  }

  #grantNow(lock: Lock, wish: Ask): boolean {
    const mode = alternatives(wish).find((one) => this.#mayNow(lock, { ...wish, mode: one }));
    if (mode) this.#grant(lock, wish, mode);
    return mode !== undefined;
  }

  /** Rules for what has just arrived. */
  #mayNow(lock: Lock, { mode, flags }: Ask): boolean {
    if (lock.held === undefined && mode === 'NL' && flags.includes('EXPEDITE')) return true;
    if (!this.#fits(lock, mode)) return false;
    if (lock.held !== undefined) return !(flags.includes('QUECVT') && this.#queue(true).length > 0);
    if (flags.includes('NOORDER')) return true;
    return this.#queue(true).length === 0 && this.#queue(false).length === 0;
  }

  /** Rules for what stands in a queue. */
  #mayLater(lock: Lock, { mode, flags }: Ask): boolean {
    if (!this.#fits(lock, mode)) return false;
    if (flags.includes('NOORDER')) return true;
    if (lock.held !== undefined) return this.#queue(true)[0] === lock;
    return this.#queue(true).length === 0 && this.#queue(false)[0] === lock;
  }

  /** Compatible with what every other lock holds, also those that convert. */
  #fits(lock: Lock, mode: Mode): boolean {
    const others = this.locks.filter((other) => other !== lock && other.held !== undefined);
    return others.every(({ held }) => compatible(held as Mode, mode));
  }

  /** Would it and another converter wait for each other for ever? */
  #deadlocks(lock: Lock, wish: Ask): boolean {
    const waitsFor = (asks: Ask, b: Lock, ahead: boolean) =>
      !asks.flags.includes('NODLCKWT') &&
      (!compatible(b.held as Mode, asks.mode) || (ahead && !asks.flags.includes('NOORDER')));
    return this.#queue(true).some((other) => {
      const theirs = other.ask as Ask;
      const theyAreAhead = theirs.place < wish.place;
      return waitsFor(wish, other, theyAreAhead) && waitsFor(theirs, lock, !theyAreAhead);
    });
  }

  /** Grants whatever may be granted, one at a time, conversions first, until nothing may. */
  #settle(): Outcome[] {
    this.#grantWhile(() => [...this.#queue(true), ...this.#queue(false)]);
    const outcomes = this.#outcomes;
    this.#outcomes = [];
    return outcomes;
  }

  #grantWhile(queued: () => Lock[]): void {
    for (;;) {
      const next = queued().find((lock) => this.#grantLater(lock, lock.ask as Ask));
      if (!next) return;
    }
  }

  #grantLater(lock: Lock, wish: Ask): boolean {
    const mode = alternatives(wish).find((one) => this.#mayLater(lock, { ...wish, mode: one }));
    if (mode) this.#grant(lock, wish, mode);
    return mode !== undefined;
  }

  #grant(lock: Lock, wish: Ask, mode: Mode): void {
    const { value } = wish;
    const altered = mode !== wish.mode;
    const before = lock.held;
    const demoted = this.#demoted.delete(lock.id);
    lock.held = mode;
    lock.ask = undefined;
    const writes = (before === 'PW' || before === 'EX') && !higher(mode, before);
    if (writes && value !== undefined) this.#write(value);
    const reads = before === undefined || (!writes && !higher(before, mode));
    const read = { value: this.value, valid: this.valid };
    const { id } = lock;
    this.#outcomes.push({ id, status: 'granted', mode, altered, demoted, ...(reads && { read }) });
  }

  #write(value: string): void {
    this.value = value;
    this.valid = true;
  }

  #queue(converting: boolean): Lock[] {
    const queue = this.locks.filter(({ held, ask }) => ask && (held !== undefined) === converting);
    return queue.sort((a, b) => (a.ask as Ask).place - (b.ask as Ask).place);
  }

  #find(id: number): Lock {
    const lock = this.locks.find((one) => one.id === id);
    if (!lock) throw new Error(`no lock ${id}`);
    return lock;
  }
}
