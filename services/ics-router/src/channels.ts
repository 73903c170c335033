// The channels of this node, one machine for each other node, and what flushing one does.
import { type RunningMachine, runMachine } from '@ssi/actor';
import type { Clock, Log } from '@ssi/ports';
import { type ChannelState, channelMachine } from './machine.ts';

export interface ChannelsDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Drops what is known of the node's former life; the channel is `down` when it resolves. */
  readonly flush: (node: number) => Promise<void>;
}

type Machine = RunningMachine<typeof channelMachine>;

export class Channels {
  readonly #d: ChannelsDeps;
  readonly #machines = new Map<number, Machine>();
  readonly #lives = new Map<number, string>();
  /** Flushes under way. */
  readonly #flushing = new Map<number, Promise<void>>();

  constructor(deps: ChannelsDeps) {
    this.#d = deps;
  }

  state(node: number): ChannelState | undefined {
    return this.#machines.get(node)?.state().value as ChannelState | undefined;
  }

  list(): { node: number; state: ChannelState }[] {
    return [...this.#machines.keys()]
      .sort((a, b) => a - b)
      .map((node) => ({ node, state: this.state(node) ?? 'down' }));
  }

  /** `life`: boot id of its incarnation. A channel to another life is flushed first. */
  up(node: number, life: string): void {
    const former = this.#lives.get(node);
    this.#lives.set(node, life);
    if (!this.#machines.has(node)) this.#machines.set(node, this.#start(node));
    else if (former === life) {
      // Every view tells of every node: only to a channel that is down this is news.
      if (this.state(node) === 'down') this.#send(node, { type: 'nodeup' });
    } else void this.down(node).then(() => this.#send(node, { type: 'nodeup' }));
  }

  answered(node: number): void {
    if (this.state(node) === 'opening') this.#send(node, { type: 'pong' });
  }

  /** Resolves when the channel is down; idempotent. */
  async down(node: number): Promise<void> {
    const state = this.state(node);
    if (state === 'opening' || state === 'up') this.#send(node, { type: 'nodedown' });
    await this.#flushing.get(node);
  }

  stop(): void {
    for (const machine of this.#machines.values()) machine.stop();
    this.#machines.clear();
  }

  #start(node: number): Machine {
    return runMachine({
      machine: channelMachine,
      input: { node },
      clock: this.#d.clock,
      log: this.#d.log,
      perform: (effect) => {
        if (effect.type === 'flush') this.#flush(node);
      },
    });
  }

  #flush(node: number): void {
    const done = this.#d.flush(node).then(() => {
      this.#flushing.delete(node);
      this.#send(node, { type: 'flushed' });
    });
    this.#flushing.set(node, done);
  }

  #send(node: number, event: Parameters<Machine['send']>[0]): void {
    this.#machines.get(node)?.send(event);
  }
}
