// One actor in its host: takes events from the mailbox one by one, each by (sender, number) exactly once,
// and can be stopped, frozen, written down and read back between any two of them. A step and its reply
// are one synchronous act, so no image ever shows half of it.
import assert from 'node:assert/strict';
import { type MachineSnapshotJson, type RunningMachine, runMachine } from '@ssi/actor';
import { type ActorInfo, type actor, fail, ok, type Reply } from '@ssi/contracts';
import type { Clock, Log, Timer } from '@ssi/ports';
import type { AnyStateMachine } from 'xstate';
import type { ActorDefinition, ActorEffect } from './define.ts';
import { type ActorImage, decodeImage, encodeImage, type Letter } from './image.ts';
import { SenderLog, type Taken } from './sender-log.ts';

/** Events that wait in one mailbox; past it EAGAIN. */
const mailboxMax = 10_000;
/** Events that came too early, or while the actor is frozen; past it EAGAIN. */
const waitingMax = 4_096;
/** How long an event waits for the number before it, ms: then its sender asks again with news of that. */
const gapMs = 250;
/** Senders remembered; the one silent longest goes first. It must not repeat itself after that. */
const sendersMax = 4_096;

export type DeliverErrno = (typeof actor)['ops']['deliver']['errnos'][number];
export type Delivered = Reply<{ value: unknown }, DeliverErrno>;

export interface Delivery extends Letter {
  readonly lowWater: number;
  readonly kind: 'ask' | 'send';
}

export interface HostedDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly node: number;
  /** False: this node has no right to run. */
  mayRun(): boolean;
  readonly effects: Readonly<Record<string, ActorEffect>>;
  /** The machine is in its final state: nothing of it runs any more. */
  ended(): void;
  /** What `info` tells has changed. */
  changed(): void;
}

export interface HostedIdentity {
  readonly pid: number;
  readonly birth: number;
  readonly uid: number;
  /** Boot id of the node's life in which it came here. */
  readonly life: string;
}

interface Waiter {
  readonly delivery: Delivery;
  readonly done: (reply: Delivered) => void;
}

const key = (q: { sender: string; seq: number }): string => `${q.seq} ${q.sender}`;
const noReply = fail('ENOSYS', 'the actor took the event and gave no reply');

export class HostedActor {
  readonly id: HostedIdentity;
  readonly definition: ActorDefinition;
  /** The move it is frozen for; '' : arrived and not yet resumed. */
  frozenFor: string | undefined;
  movingTo: number | undefined;
  private stopped = false;
  private over = false;
  private readonly deps: HostedDeps;
  private readonly log: Log;
  /** The machine's own. */
  private readonly clock: Clock;
  private machine: RunningMachine<AnyStateMachine> | undefined;
  /** While the machine does not run. */
  private saved: MachineSnapshotJson | undefined;
  private mailbox: Letter[] = [];
  private senders = new Map<string, SenderLog>();
  /** Not taken yet: too early, or the actor is frozen. They don't move: their senders still wait. */
  private readonly early = new Map<string, Waiter>();
  /** Taken, and somebody waits for what becomes of it. */
  private readonly asked = new Map<string, Waiter>();
  private gapTimer: Timer | undefined;
  private answering: { taken: Taken } | undefined;
  private draining = false;
  private cachedImage: Uint8Array | undefined;

  constructor(id: HostedIdentity, definition: ActorDefinition, deps: HostedDeps) {
    this.id = id;
    this.definition = definition;
    this.deps = deps;
    this.log = deps.log.with({ pid: id.pid, actor: definition.type });
    const { clock } = deps;
    this.clock = {
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      // The step of a timer may be the last one.
      after: (delayMs, fn) =>
        clock.after(delayMs, () => {
          fn();
          this.lookForEnd();
        }),
    };
  }

  /** EINVAL: the machine does not start with this input. */
  start(input: unknown): Reply<undefined, 'EINVAL'> {
    try {
      this.run(input);
    } catch (error) {
      return fail('EINVAL', `${this.definition.type} does not start: ${String(error)}`);
    }
    this.lookForEnd();
    this.consider();
    return ok();
  }

  /** From an image: frozen until `resume`. */
  load(image: ActorImage): void {
    this.saved = image.machine;
    this.stopped = image.stopped;
    this.mailbox = [...image.mailbox];
    this.senders = new Map(image.senders.map(([s, log]) => [s, new SenderLog(log)]));
    this.frozenFor = '';
  }

  get info(): ActorInfo {
    const { pid, birth, uid } = this.id;
    const state = this.frozenFor !== undefined ? 'frozen' : this.stopped ? 'stopped' : 'running';
    return { pid, birth, uid, type: this.definition.type, state, mailbox: this.mailbox.length };
  }
  get isStopped(): boolean {
    return this.stopped;
  }

  deliver(delivery: Delivery): Delivered | Promise<Delivered> {
    const log = this.logOf(delivery);
    const verdict = log.judge(delivery.seq);
    if (verdict === 'forgotten')
      return fail('ESTALE', `number ${delivery.seq} was finished with before`);
    if (typeof verdict === 'object')
      return delivery.kind === 'ask' && verdict.kind === 'pending'
        ? this.wait(this.asked, delivery)
        : answerOf(delivery.kind, verdict);
    if (this.frozenFor !== undefined || verdict === 'early') {
      if (this.early.size >= waitingMax)
        return fail('EAGAIN', 'too many events wait for this actor');
      const reply = this.wait(this.early, delivery);
      this.watchGaps();
      return reply;
    }
    const taken = this.take(delivery, log);
    this.takeEarly(delivery.sender, log);
    return taken;
  }

  private logOf(delivery: Delivery): SenderLog {
    let log = this.senders.get(delivery.sender);
    if (!log) {
      log = SenderLog.fresh(delivery.lowWater);
      this.forgetSenders();
    } else if (delivery.lowWater > log.lowWater && this.frozenFor === undefined) {
      log.raise(delivery.lowWater);
      this.takeEarly(delivery.sender, log);
    }
    this.senders.delete(delivery.sender);
    this.senders.set(delivery.sender, log);
    return log;
  }
  private forgetSenders(): void {
    if (this.senders.size < sendersMax) return;
    for (const [sender, log] of this.senders) {
      if (log.busy) continue;
      this.senders.delete(sender);
      return;
    }
  }

  /** The newest call for a number is the one that gets the answer. */
  private wait(where: Map<string, Waiter>, delivery: Delivery): Promise<Delivered> {
    return new Promise((done) => {
      where.get(key(delivery))?.done(fail('EAGAIN', 'asked again meanwhile'));
      where.set(key(delivery), { delivery, done });
    });
  }

  /** It counts from here on. Sync where it is answered at once, so an idle actor costs no promise. */
  private take(delivery: Delivery, log: SenderLog): Delivered | Promise<Delivered> {
    if (this.mailbox.length >= mailboxMax) return fail('EAGAIN', 'the mailbox is full');
    const { sender, seq, event, kind } = delivery;
    log.take(seq);
    this.mailbox.push({ sender, seq, event });
    this.drain();
    if (kind === 'send') return ok({ value: undefined });
    const taken = log.judge(seq);
    if (typeof taken === 'object' && taken.kind !== 'pending') return answerOf('ask', taken);
    return this.wait(this.asked, delivery);
  }

  /** What waited for the numbers before it, in order. */
  private takeEarly(sender: string, log: SenderLog): void {
    for (;;) {
      const waiter = this.early.get(key({ sender, seq: log.next }));
      if (!waiter || this.frozenFor !== undefined) return;
      this.early.delete(key(waiter.delivery));
      const reply = this.take(waiter.delivery, log);
      if (reply instanceof Promise) void reply.then(waiter.done);
      else waiter.done(reply);
      if (log.next === waiter.delivery.seq) return;
    }
  }

  private watchGaps(): void {
    if (this.frozenFor !== undefined || this.early.size === 0) return;
    this.gapTimer ??= this.deps.clock.after(gapMs, () => {
      this.gapTimer = undefined;
      if (this.frozenFor === undefined)
        this.dismiss(this.early, fail('EAGAIN', 'the event before this one did not come'));
    });
  }
  private dismiss(waiters: Map<string, Waiter>, reply: Delivered): void {
    const all = [...waiters.values()];
    waiters.clear();
    for (const w of all) w.done(reply);
  }

  private drain(): void {
    // An effect may deliver to its own actor: the outer turn takes it.
    if (this.draining) return;
    this.draining = true;
    while (this.machine && !this.over) {
      const letter = this.mailbox.shift();
      if (!letter) break;
      this.step(letter);
    }
    this.draining = false;
  }

  private step(letter: Letter): void {
    const answering: { taken: Taken } = { taken: { kind: 'none' } };
    this.answering = answering;
    this.machine?.send(letter.event as never);
    this.answering = undefined;
    this.senders.get(letter.sender)?.answer(letter.seq, answering.taken);
    const waiter = this.asked.get(key(letter));
    if (waiter && this.asked.delete(key(letter))) waiter.done(answerOf('ask', answering.taken));
    this.lookForEnd();
  }

  private perform(effect: { type: string; params: unknown }): void {
    if (effect.type === 'reply') {
      if (!this.answering) this.log.warn('a reply to nobody: no ask is being served');
      else if (this.answering.taken.kind === 'none')
        this.answering.taken = { kind: 'reply', value: effect.params };
      return;
    }
    const fn = this.deps.effects[effect.type];
    if (!fn) {
      this.log.warn('no function for this effect', { effect: effect.type });
      return;
    }
    const { machine } = this;
    const self = {
      pid: this.id.pid,
      type: this.definition.type,
      node: this.deps.node,
      send: (event: { type: string }): boolean => {
        // The first effects come while the machine is made: it is there a moment later.
        const sent = (machine ?? this.machine)?.send(event as never) ?? false;
        this.lookForEnd();
        return sent;
      },
    };
    const failed = (error: unknown): void =>
      this.log.error('effect failed', { effect: effect.type, error: String(error) });
    try {
      void Promise.resolve(fn(effect.params, self)).catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  private run(input: unknown): void {
    const { saved } = this;
    this.machine = runMachine<AnyStateMachine>({
      machine: this.definition.machine,
      input: input as never,
      clock: this.clock,
      log: this.log,
      perform: (effect) => this.perform(effect),
      ...(saved ? { snapshot: saved } : {}),
    });
    this.saved = undefined;
  }
  private lookForEnd(): void {
    if (this.over || !this.machine || this.machine.state().status !== 'done') return;
    this.end(fail('ESRCH', 'the actor ended before it took this'));
    this.deps.ended();
  }

  /** Runs or stands still, as everything that bears on it says now. */
  consider(): void {
    if (this.over) return;
    const runs = this.frozenFor === undefined && !this.stopped && this.deps.mayRun();
    if (runs && !this.machine) {
      this.run(undefined);
      this.drain();
    } else if (!runs && this.machine) {
      this.saved = this.machine.snapshot();
      this.machine.stop();
      this.machine = undefined;
    }
  }

  /** Nothing is taken from now on, until `resume`. */
  freeze(moveId: string, to: number | undefined): Uint8Array {
    if (this.frozenFor === moveId && this.cachedImage) return this.cachedImage;
    this.frozenFor = moveId;
    this.movingTo = to;
    this.consider();
    this.gapTimer?.cancel();
    this.gapTimer = undefined;
    this.deps.changed();
    // Standing still, it has no machine that could change it.
    assert(this.saved, 'an actor that stands still is written down');
    this.cachedImage = encodeImage({
      version: 1,
      type: this.definition.type,
      uid: this.id.uid,
      stopped: this.stopped,
      machine: this.saved,
      mailbox: this.mailbox,
      senders: [...this.senders].map(([sender, log]) => [sender, log.toJson()]),
    });
    return this.cachedImage;
  }

  /** What a fork of it begins with. What was sent to it was sent to it alone. */
  forkImage(): ActorImage {
    const machine = this.machine?.snapshot() ?? this.saved;
    assert(machine, 'an actor that stands still is written down');
    const image = { version: 1, type: this.definition.type, uid: this.id.uid, machine } as const;
    // By way of its bytes: the two share nothing.
    const copy = decodeImage(encodeImage({ ...image, stopped: false, mailbox: [], senders: [] }));
    assert(copy, 'an image can be read');
    return copy;
  }

  resume(): void {
    if (this.frozenFor === undefined) return;
    this.frozenFor = undefined;
    this.movingTo = undefined;
    this.cachedImage = undefined;
    this.consider();
    for (const { delivery } of [...this.early.values()]) {
      const log = this.senders.get(delivery.sender);
      log?.raise(delivery.lowWater);
      if (log) this.takeEarly(delivery.sender, log);
    }
    // Those that are still early, or were answered meanwhile.
    this.watchGaps();
    this.deps.changed();
  }

  stop(stopped: boolean): void {
    if (this.stopped === stopped) return;
    this.stopped = stopped;
    this.consider();
    this.deps.changed();
  }

  /** It runs here no more; whoever waits is told `reply`. */
  end(reply: Delivered): void {
    if (this.over) return;
    this.over = true;
    this.machine?.stop();
    this.machine = undefined;
    this.gapTimer?.cancel();
    this.dismiss(this.asked, reply);
    this.dismiss(this.early, reply);
  }

  /** After its end: what it answered before is answered again. */
  recall(delivery: Delivery): Delivered {
    const verdict = this.senders.get(delivery.sender)?.judge(delivery.seq);
    if (typeof verdict === 'object' && verdict.kind !== 'pending')
      return answerOf(delivery.kind, verdict);
    return fail('ESRCH', `${this.id.pid} has ended`);
  }
}

function answerOf(kind: 'ask' | 'send', taken: Taken): Delivered {
  if (kind === 'send') return ok({ value: undefined });
  return taken.kind === 'reply' ? ok({ value: taken.value }) : noReply;
}
