// Keeps an actor host known to the services of its node: membership tells it the view and the right to
// run, the router where others are, vproc which actors are its. The same after a restart of any of them.
import {
  type ActorExit,
  type ActorInfo,
  clms,
  type MemberId,
  type ServiceEndpoint,
  sameIncarnation,
  type View,
  vproc,
} from '@ssi/contracts';
import { linkRouter, type RouterLink } from '@ssi/ics';
import type { Clock, Ics, Timer } from '@ssi/ports';

/** Membership tells the view every second; without it for this long nobody vouches for the lease. */
const silenceMs = 2_500;
const announceMs = 1_000;
const againMs = 50;
/** Changes of one moment go in one announcement. */
const gatherMs = 5;
const answerMs = 1_000;

export interface RegistrationDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly node: number;
  readonly servicePid: number;
  readonly types: readonly string[];
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  readonly setMap?: ((map: readonly ServiceEndpoint[]) => void) | undefined;
  actors(): ActorInfo[];
  exits(): ActorExit[];
  /** vproc has these ends on record. */
  taken(ends: readonly { pid: number; birth: number }[]): void;
  /** Not of this node any more. */
  strangers(actors: readonly { pid: number; birth: number }[]): void;
  /**
   * Another life of the node has begun (its boot id), or another host has its place (undefined): what is
   * of no such life ended before.
   */
  disowned(life: string | undefined): void;
  /** `mayRun` may answer otherwise now. */
  considered(): void;
}

export class Registration {
  private readonly deps: RegistrationDeps;
  private self: MemberId | undefined;
  private leased = false;
  private heardMs = Number.NEGATIVE_INFINITY;
  private version = 0;
  private known = -1;
  private announcing = false;
  private again = false;
  private stopped = false;
  private readonly router: RouterLink;
  private readonly timers = new Set<Timer>();
  private vouched = false;

  constructor(deps: RegistrationDeps) {
    this.deps = deps;
    this.router = linkRouter({ ...deps, setMap: deps.setMap ?? (() => {}) });
    this.attachLoop();
    this.announceLoop();
  }

  get mayRun(): boolean {
    return this.leased && this.deps.clock.nowMs() - this.heardMs < silenceMs;
  }

  /** From membership: on every change, and once a second. */
  view(q: { view: View; self: MemberId; leased: boolean }): void {
    const before = this.self;
    this.deps.ics.setView(q.view, q.self);
    this.router.self(q.self);
    this.self = q.self;
    this.leased = q.leased;
    this.heardMs = this.deps.clock.nowMs();
    if (before && !sameIncarnation(before.incarnation, q.self.incarnation)) {
      this.deps.disowned(q.self.incarnation.bootId);
      this.known = -1;
      this.announce();
    }
    this.look();
  }

  /** Tells vproc soon. */
  changed(): void {
    this.version++;
    if (!this.again) this.after(gatherMs, () => this.announce());
    this.again = true;
  }

  stop(): void {
    this.stopped = true;
    this.router.stop();
    for (const timer of this.timers) timer.cancel();
  }

  private after(ms: number, fn: () => void): void {
    const timer = this.deps.clock.after(ms, () => {
      this.timers.delete(timer);
      if (!this.stopped) fn();
    });
    this.timers.add(timer);
  }

  private look(): void {
    if (this.vouched === this.mayRun) return;
    this.vouched = this.mayRun;
    this.deps.considered();
  }

  private attachLoop(): void {
    this.look();
    const { clock, ics, node } = this.deps;
    if (clock.nowMs() - this.heardMs < silenceMs / 2) {
      this.after(silenceMs / 10, () => this.attachLoop());
      return;
    }
    const request = { service: 'actor', bootId: ics.self.bootId, pid: this.deps.servicePid };
    void ics.call(clms, 'attach', node, request, { timeoutMs: answerMs }).then((reply) => {
      if (this.stopped) return;
      if (reply.ok) {
        this.view(reply.value);
        this.announce();
      }
      this.after(reply.ok ? silenceMs / 10 : againMs, () => this.attachLoop());
    });
  }

  private announceLoop(): void {
    this.announce();
    this.after(announceMs, () => this.announceLoop());
  }

  private announce(): void {
    if (this.announcing || this.stopped) {
      this.again = true;
      return;
    }
    this.announcing = true;
    this.again = false;
    const { ics, node, types } = this.deps;
    const { version } = this;
    const request = {
      bootId: ics.self.bootId,
      types: [...types],
      version,
      exits: this.deps.exits(),
      ...(this.known === version ? {} : { actors: this.deps.actors() }),
    };
    void ics.call(vproc, 'actorHost', node, request, { timeoutMs: answerMs }).then((reply) => {
      this.announcing = false;
      if (this.stopped) return;
      if (reply.ok) {
        this.known = reply.value.known;
        this.deps.taken(reply.value.taken);
        this.deps.strangers(reply.value.strangers);
      } else {
        this.known = -1;
        if (reply.errno === 'EBUSY') this.deps.disowned(undefined);
      }
      if (!reply.ok) this.after(againMs, () => this.announce());
      else if (this.known !== this.version || this.again) this.announce();
    });
  }
}
