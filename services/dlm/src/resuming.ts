// The start of a lock manager whose former life had clients: it is there for nobody else before these have said
// what they hold, or were not heard of for as long as a session lasts.
import type { dlm, RequestOf } from '@ssi/contracts';
import { type Clock, sleep } from '@ssi/ports';
import type { SessionRecord } from './ports.ts';
import { sessionMs } from './sessions.ts';

export type ResumeRequest = RequestOf<typeof dlm.ops.resume>;

export class Resuming {
  readonly #record: SessionRecord | undefined;
  readonly #clock: Clock;
  /** Sessions of the former life that have not said all. */
  #expected = new Set<string>();
  #done = Promise.withResolvers<void>();
  #over = false;

  constructor(record: SessionRecord | undefined, clock: Clock) {
    this.#record = record;
    this.#clock = clock;
  }

  async load(): Promise<void> {
    this.#expected = new Set(await this.#record?.all());
  }

  /** Resolves when it can begin to serve. */
  async all(): Promise<void> {
    if (this.#expected.size > 0)
      await Promise.race([this.#done.promise, sleep(this.#clock, sessionMs)]);
    this.#over = true;
    for (const session of this.#expected) this.ended(session);
  }

  /** It may have locks of the former life, and has not said which. */
  expects(session: string): boolean {
    return !this.#over && this.#expected.has(session);
  }

  has(session: string): void {
    if (this.#expected.delete(session) && this.#expected.size === 0) this.#done.resolve();
  }

  async opened(session: string): Promise<void> {
    await this.#record?.add(session);
  }

  ended(session: string): void {
    this.#record?.remove(session);
    this.has(session);
  }
}
