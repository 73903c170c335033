// The node a vproc serves: what it was given, the view it goes by, and the few questions about them that
// every part of the service asks.
import type { Tracer } from '@opentelemetry/api';
import {
  clms,
  type Errno,
  findMember,
  type Incarnation,
  type MemberId,
  originOf,
  originOfRange,
  type Reply,
  type ServiceEndpoint,
  sameIncarnation,
  upMembers,
  type View,
} from '@ssi/contracts';
import type { RouterLink } from '@ssi/ics';
import type { CallContext, Clock, Ics, Log, Random, StreamListener, Streams } from '@ssi/ports';
import type { Failpoint } from './failpoint.ts';
import type { VprocPorts } from './ports.ts';

export interface VprocDeps {
  readonly ics: Ics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly tracer: Tracer;
  readonly ports: VprocPorts;
  readonly streams: Streams;
  readonly failpoint: Failpoint;
  /** This node's number. */
  readonly num: number;
  /** This service's own process id, for membership's list; 0 in a simulation. */
  readonly servicePid: number;
  /** Where this service is reached directly, for the node map; empty: by the bus only. */
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  /** Hands the node map over to ICS. Absent: the transport needs none. */
  readonly setMap?: (map: readonly ServiceEndpoint[]) => void;
}

/** States in which a member's programs certainly run no more. [OpenSSI: cleanup states follow the death] */
const dead: ReadonlySet<string> = new Set(['KCLEANUP', 'UCLEANUP', 'DOWN', 'NEVERUP']);

export class LocalNode {
  readonly deps: VprocDeps;
  readonly num: number;
  view: View | undefined;
  self: MemberId | undefined;
  leased = false;
  /** The guard's word: this node's programs stand still. */
  frozen = false;
  /** False until the numbers of our range that live elsewhere are held. */
  claimed = false;
  stopped = false;
  listener: StreamListener | undefined;
  private router: RouterLink | undefined;
  private readonly viewListeners = new Set<(view: View, before: View | undefined) => void>();

  constructor(deps: VprocDeps) {
    this.deps = deps;
    this.num = deps.num;
  }

  applyView(view: View, self: MemberId, leased: boolean): void {
    this.self = self;
    this.leased = leased;
    // With what this node is: calls that name no incarnation are refused by every other node.
    this.deps.ics.setView(view, self);
    this.router?.self(self);
    const before = this.view;
    if (before && view.transid <= before.transid) return;
    this.view = view;
    for (const listener of [...this.viewListeners]) listener(view, before);
  }

  /** From now on the router hears of each life of this node. */
  followRouter(router: RouterLink): void {
    this.router = router;
    if (this.self) router.self(this.self);
  }

  stop(): void {
    this.stopped = true;
    this.router?.stop();
  }

  /** Calls back with every newer view. Returns how to end that. */
  onView(fn: (view: View, before: View | undefined) => void): () => void {
    this.viewListeners.add(fn);
    return () => this.viewListeners.delete(fn);
  }

  /** Resolves when the view is at least at `transid`, or undefined after `timeoutMs`. */
  atView(transid: number, timeoutMs: number): Promise<View | undefined> {
    const now = this.view;
    if (now && now.transid >= transid) return Promise.resolve(now);
    return new Promise((done) => {
      const end = (view: View | undefined): void => {
        timer.cancel();
        off();
        done(view);
      };
      const timer = this.deps.clock.after(timeoutMs, () => end(undefined));
      const off = this.onView((view) => view.transid >= transid && end(view));
    });
  }

  originOf(pid: number): number | undefined {
    return this.view && originOf(this.view, pid);
  }
  originOfRange(range: number): number | undefined {
    return this.view && originOfRange(this.view, range);
  }

  /** UP members but this one, ascending. */
  peers(): number[] {
    return this.view
      ? upMembers(this.view)
          .map((m) => m.num)
          .filter((n) => n !== this.num)
      : [];
  }
  memberUp(num: number): MemberId | undefined {
    const m = this.view && findMember(this.view, num);
    return m?.state === 'UP' ? { num, incarnation: m.incarnation } : undefined;
  }

  /** Does the view show that this incarnation is gone? Without a view nobody knows: false. */
  isGone(peer: MemberId): boolean {
    const m = this.view && findMember(this.view, peer.num);
    if (!m) return false;
    return isOlder(peer.incarnation, m.incarnation) || dead.has(m.state);
  }

  /** Membership's word, right before what cannot be taken back. */
  confirm(peer: MemberId | undefined, context: CallContext): Promise<Reply<unknown, Errno>> {
    return this.deps.ics.call(clms, 'confirm', this.num, peer ? { peer } : {}, {
      context,
      timeoutMs: 2_000,
    }) as Promise<Reply<unknown, Errno>>;
  }
}

/** Another incarnation than the one the view has: it was replaced. */
const isOlder = (a: Incarnation, inView: Incarnation): boolean =>
  !sameIncarnation(a, inView) && a.bootCount <= inView.bootCount;
