// What happened, one event a line with its virtual time: the transcript of a run. Its hash tells
// whether two runs were the same; lines of detail are kept only where asked for, and not hashed.
import { createHash } from 'node:crypto';
import type { Clock, Log, LogFields } from '@ssi/ports';

/** Lines that are kept where nobody asked for all of them. */
const keptMax = 4_000;

export interface JournalOptions {
  readonly clock: Clock;
  /** Keeps every line, those of detail too. */
  readonly trace: boolean;
}

export class Journal {
  readonly trace: boolean;
  readonly #clock: Clock;
  readonly #hash = createHash('sha256');
  #lines: string[] = [];

  constructor({ clock, trace }: JournalOptions) {
    this.#clock = clock;
    this.trace = trace;
  }

  /** An event of the run: part of its hash. */
  event(who: string, what: string, fields?: LogFields): void {
    const line = this.#line(who, what, fields);
    this.#hash.update(line).update('\n');
    this.#keep(line);
  }

  /** For whoever reads a trace. */
  detail(who: string, what: string, fields?: LogFields): void {
    if (this.trace) this.#keep(this.#line(who, what, fields));
  }

  /** Of all events so far, 16 hex digits. */
  hash(): string {
    return this.#hash.copy().digest('hex').slice(0, 16);
  }

  lines(): readonly string[] {
    return this.#lines;
  }

  /** The Log port of one service: what people would read there is part of the run. */
  log(who: string, fields: LogFields = {}): Log {
    const all = (more?: LogFields): LogFields => ({ ...fields, ...more });
    return {
      debug: (text, more) => this.detail(who, text, all(more)),
      info: (text, more) => this.event(who, text, all(more)),
      warn: (text, more) => this.event(who, `! ${text}`, all(more)),
      error: (text, more) => this.event(who, `!! ${text}`, all(more)),
      with: (more) => this.log(who, all(more)),
    };
  }

  #line(who: string, what: string, fields?: LogFields): string {
    const at = this.#clock.nowMs().toFixed(2).padStart(10);
    let line = `${at} ${who.padEnd(12)} ${what}`;
    for (const [key, value] of Object.entries(fields ?? {}))
      if (value !== undefined) line += ` ${key}=${shown(value)}`;
    return line;
  }

  #keep(line: string): void {
    this.#lines.push(line);
    if (!this.trace && this.#lines.length >= 2 * keptMax) this.#lines = this.#lines.slice(-keptMax);
  }
}

const shown = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
