// Keeps a service known to its own node's membership, and its view current: attaches, and attaches again
// after a silence, since a membership that was started anew knows nobody.
import { clms, type MemberId, sameIncarnation, type View } from '@ssi/contracts';
import { type Clock, type Ics, repeat, sleep } from '@ssi/ports';

const attachRetryMs = 100;
/** Membership tells the view every second; without it for this long it may have been restarted. */
const silenceMs = 2_000;

export interface MembershipLinkOptions {
  readonly ics: Ics;
  readonly clock: Clock;
  /** The service's own process id, for membership's list; 0 in a simulation. */
  readonly servicePid: number;
  /** Each word of membership, also where the view is as before. */
  apply(view: View, self: MemberId): void;
  /** Another life of the node has begun, told instead of being applied. Absent: the service outlives it. */
  readonly onNewLife?: () => void;
}

export interface MembershipLink {
  /** What the operation `view` brings. */
  told(view: View, self: MemberId): void;
  /** Resolves when membership has answered; goes on trying as long as it does not. */
  start(): Promise<void>;
  stop(): void;
}

export function linkMembership(q: MembershipLinkOptions): MembershipLink {
  const { ics, clock } = q;
  let heardMs = Number.NEGATIVE_INFINITY;
  let life: MemberId | undefined;
  let stopped = false;

  function told(view: View, self: MemberId): void {
    if (stopped) return;
    if (q.onNewLife && life && !sameIncarnation(life.incarnation, self.incarnation)) {
      q.onNewLife();
      return;
    }
    heardMs = clock.nowMs();
    life = self;
    q.apply(view, self);
  }

  async function attach(): Promise<void> {
    const request = { service: ics.self.service, bootId: ics.self.bootId, pid: q.servicePid };
    while (!stopped) {
      const reply = await ics.call(clms, 'attach', ics.self.node, request, { timeoutMs: 1_000 });
      if (reply.ok) {
        told(reply.value.view, reply.value.self);
        return;
      }
      await sleep(clock, attachRetryMs);
    }
  }

  return {
    told,
    async start() {
      await attach();
      void repeat({ clock, ms: silenceMs / 4, until: () => stopped }, () =>
        clock.nowMs() - heardMs >= silenceMs ? attach() : undefined,
      );
    },
    stop() {
      stopped = true;
    },
  };
}
