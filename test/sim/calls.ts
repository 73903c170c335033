// Watches every call that a service or a client makes: each must end, by its reply, its deadline or a
// nodedown. Also tells who runs a nodedown step, and when.
import type { Contract, MemberId, Reply } from '@ssi/contracts';
import type { IcsEndpoint } from '@ssi/ics';
import type { Ics, ServedCall } from '@ssi/ports';
import type { Life } from '@ssi/sim';
import { Violation, type World } from './world.ts';

/** Late by no more than this: one turn of the deadline buckets, and a slow clock. */
const slackMs = 600;
const lookMs = 500;
const defaultTimeoutMs = 5_000;

interface OpenCall {
  readonly life: Life;
  readonly what: string;
  readonly startMs: number;
  readonly timeoutMs: number;
}

/** A nodedown step in one service of one node. */
export interface StepRun {
  readonly node: number;
  readonly service: string;
  readonly dead: readonly MemberId[];
  readonly transid: number;
  readonly done: boolean;
  /** The life of the service that runs it. */
  readonly life: Life;
}

export class CallWatch {
  readonly #world: World;
  readonly #open = new Set<OpenCall>();
  readonly #onStep: (run: StepRun) => void;
  /** By outcome: `ok` or the errno. */
  readonly ended = new Map<string, number>();

  constructor(world: World, onStep: (run: StepRun) => void) {
    this.#world = world;
    this.#onStep = onStep;
    this.#look();
  }

  get open(): number {
    return this.#open.size;
  }

  /** The same endpoint, watched. */
  watch(ics: IcsEndpoint, life: Life): IcsEndpoint {
    life.onEnd(() => {
      for (const call of this.#open) if (call.life === life) this.#open.delete(call);
    });
    const begin = (contract: Contract, op: string, to: number, timeoutMs?: number): OpenCall => {
      const call: OpenCall = {
        life,
        what: `${life.name} > ${to} ${contract.name}.${op}`,
        startMs: this.#world.clock.nowMs(),
        timeoutMs: timeoutMs ?? contract.ops[op]?.timeoutMs ?? defaultTimeoutMs,
      };
      // What the dead still try in their last turn is nobody's call.
      if (life.alive) this.#open.add(call);
      return call;
    };
    const end = (call: OpenCall, reply: Reply<unknown>): void => {
      this.#open.delete(call);
      const outcome = reply.ok ? 'ok' : reply.errno;
      this.ended.set(outcome, (this.ended.get(outcome) ?? 0) + 1);
      const ms = Math.round(this.#world.clock.nowMs() - call.startMs);
      this.#world.journal.detail(life.name, `call ${call.what} = ${outcome}`, { ms });
    };
    const call = (...[contract, op, to, request, options]: Parameters<Ics['call']>) => {
      const open = begin(contract, op, to, options?.timeoutMs);
      const done = life.attempt('ics', `${contract.name}.${op}`, () =>
        ics.call(contract, op, to, request, options),
      );
      void done.then((reply) => end(open, reply as Reply<unknown>));
      return done;
    };
    const request = (...[contract, op, to, body, options]: Parameters<Ics['request']>) => {
      const open = begin(contract, op, to, options?.timeoutMs);
      const pending = life.attempt('ics', `${contract.name}.${op}`, () =>
        ics.request(contract, op, to, body, options),
      );
      void pending.done.then((reply) => end(open, reply as Reply<unknown>));
      return pending;
    };
    return {
      ...ics,
      call: call as Ics['call'],
      request: request as Ics['request'],
      serve: (contract, handlers, options) =>
        ics.serve(contract, this.#watchSteps(contract, handlers, life, ics.self.node), options),
    };
  }

  #watchSteps<H extends object>(contract: Contract, handlers: H, life: Life, node: number): H {
    type Step = (q: { dead: MemberId[]; transid: number }, call: ServedCall) => unknown;
    const nodedown = (handlers as { nodedown?: Step }).nodedown;
    if (!nodedown || contract.name === 'clms') return handlers;
    const watched: Step = async (q, call) => {
      const run = { node, service: contract.name, dead: q.dead, transid: q.transid, life };
      this.#onStep({ ...run, done: false });
      const reply = (await nodedown(q, call)) as Reply<unknown>;
      if (reply.ok) this.#onStep({ ...run, done: true });
      return reply;
    };
    return { ...handlers, nodedown: watched };
  }

  #look(): void {
    this.#world.clock.after(lookMs, () => {
      const now = this.#world.clock.nowMs();
      for (const call of this.#open) {
        // A process that stood still counts from when it went on.
        const fromMs = Math.max(call.startMs, call.life.resumedMs);
        if (now - fromMs > call.timeoutMs * 1.01 + slackMs)
          throw new Violation('calls end', `${call.what} is open for ${now - call.startMs} ms`);
      }
      this.#look();
    });
  }
}
