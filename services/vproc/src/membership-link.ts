// Keeps this service known to its own node's membership, and the view current: the same after a start
// and after a restart of either of them.
import { clms } from '@ssi/contracts';
import { untilAnswered } from './backoff.ts';
import type { LocalNode } from './local-node.ts';

/** Without a word of membership for this long it may have restarted: attach again. */
const silenceMs = 2_000;
/** How often a service that is still starting looks at the view. */
const lookMs = 500;
const patience = { firstMs: 20, maxMs: 500 };

export class MembershipLink {
  private readonly node: LocalNode;
  private heardMs = 0;
  private attached = false;

  constructor(node: LocalNode) {
    this.node = node;
  }

  heard(): void {
    this.heardMs = this.node.deps.clock.nowMs();
  }

  /** The view, read before anything is announced: a joining node first asks what lives of its range. */
  async look(): Promise<void> {
    const { node } = this;
    await untilAnswered(
      node.deps.clock,
      patience,
      () => !node.stopped,
      async () => {
        const reply = await node.deps.ics.call(clms, 'members', node.num, {}, { timeoutMs: 1_000 });
        if (!reply.ok) return undefined;
        node.applyView(reply.value.view, reply.value.self, reply.value.leased);
        return true;
      },
    );
    // Until it is announced nobody tells it of newer views, or that this node began another life.
    node.deps.clock.after(lookMs, () => {
      if (!node.stopped && !this.attached) void this.look();
    });
  }

  /** Announces this service, until answered; then again after each silence. */
  async attach(): Promise<void> {
    const { node } = this;
    const { ics: bus, clock, servicePid } = node.deps;
    const request = { service: 'vproc', bootId: bus.self.bootId, pid: servicePid };
    await untilAnswered(
      clock,
      patience,
      () => !node.stopped,
      async () => {
        const reply = await bus.call(clms, 'attach', node.num, request, { timeoutMs: 1_000 });
        if (!reply.ok) return undefined;
        node.applyView(reply.value.view, reply.value.self, reply.value.leased);
        this.heard();
        this.attached = true;
        return true;
      },
    );
    this.watch();
  }

  private watch(): void {
    const { node } = this;
    node.deps.clock.after(silenceMs / 4, () => {
      if (node.stopped) return;
      if (node.deps.clock.nowMs() - this.heardMs >= silenceMs) void this.attach();
      else this.watch();
    });
  }
}
