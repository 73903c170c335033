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
  /** Sessions of the former life that have not said all, with the boot that they were opened in. */
  #expected = new Map<string, number>();
  /** Of the node; undefined: not known yet. */
  #boot: number | undefined;
  #done = Promise.withResolvers<void>();
  #over = false;

  constructor(record: SessionRecord | undefined, clock: Clock) {
    this.#record = record;
    this.#clock = clock;
  }

  async load(): Promise<void> {
    for (const { session, boot } of (await this.#record?.all()) ?? [])
      this.#expected.set(session, boot);
  }

  /** Whether it is known which life of the node this is. */
  get begun(): boolean {
    return this.#boot !== undefined;
  }

  /** Resolves when it can begin to serve. What was held in another life of the node is lost: others have it by now. */
  async all(boot: number): Promise<void> {
    for (const [session, before] of this.#expected) if (before !== boot) this.ended(session);
    this.#boot = boot;
    if (this.#expected.size > 0)
      await Promise.race([this.#done.promise, sleep(this.#clock, sessionMs)]);
    this.#over = true;
    for (const session of this.#expected.keys()) this.ended(session);
  }

  /** It may have locks of the former life, and has not said which. */
  expects(session: string): boolean {
    return !this.#over && this.#expected.has(session);
  }

  has(session: string): void {
    if (this.#expected.delete(session) && this.#expected.size === 0) this.#done.resolve();
  }

  async opened(session: string): Promise<void> {
    if (this.#boot !== undefined) await this.#record?.add({ session, boot: this.#boot });
  }

  ended(session: string): void {
    const boot = this.#expected.get(session) ?? this.#boot;
    if (boot !== undefined) this.#record?.remove({ session, boot });
    this.has(session);
  }
}
