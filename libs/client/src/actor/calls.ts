// Actors as a client uses them: start one, ask it, send to it, host some. Moving, signals and waiting are
// the same calls as for any process.
import { type Errno, fail, ok, type Reply, vproc } from '@ssi/contracts';
import { withSpan } from '@ssi/telemetry';
import type { ClientLink } from '../link.ts';
import type { PidCalls } from '../pid-calls.ts';
import type { ViewSource } from '../view-source.ts';
import type { ActorDefinition, ActorEffect, ActorEvents, ActorInput, ActorRef } from './define.ts';
import { type ActorHost, createActorHost } from './host.ts';
import { Mail, type SendOptions } from './mail.ts';

type Answer<T> = Promise<Reply<T>>;

export interface HostOptions {
  /** Node whose actors this process hosts. */
  readonly node: number;
  readonly actors: readonly ActorDefinition[];
  /** By type, then by the effect's name; `reply` is taken. */
  readonly effects?: Readonly<Record<string, Readonly<Record<string, ActorEffect>>>>;
}

export interface ActorCalls {
  /** ENOENT: the node's host has no such type; EHOSTUNREACH: it has no host. `node` absent: the least loaded. */
  spawn<D extends ActorDefinition>(
    definition: D,
    options: { readonly node?: number; readonly input?: ActorInput<D> },
  ): Answer<ActorRef<D>>;
  /**
   * Another actor as this one is between two events, on another node: its state and running timers, an empty
   * mailbox, a pid of its own. EOPNOTSUPP: it cannot go there; else as `migrate`. [rfork(3ssi)]
   */
  rfork<D extends ActorDefinition>(ref: ActorRef<D>, node: number): Answer<ActorRef<D>>;
  /**
   * What the actor's `reply` had to say. Counts exactly once and in the order of the calls on this handle,
   * across moves. ETIMEDOUT: it may have run; ENOSYS: taken, but not answered; ESRCH: it has ended;
   * EHOSTDOWN: it ended with its node, and may have run before.
   */
  ask<D extends ActorDefinition>(
    ref: ActorRef<D>,
    event: ActorEvents<D>,
    options?: SendOptions,
  ): Answer<unknown>;
  /** Resolves when the event is in the mailbox; errnos, order and count as for `ask`. */
  send<D extends ActorDefinition>(
    ref: ActorRef<D>,
    event: ActorEvents<D>,
    options?: SendOptions,
  ): Answer<undefined>;
  /** Makes this process the actor host of a node. EOPNOTSUPP: this handle cannot serve. */
  host(options: HostOptions): Answer<ActorHost>;
}

/** A fork is a move. */
const forkMs = 60_000;

export interface ActorCallDeps {
  readonly link: ClientLink;
  readonly calls: PidCalls;
  readonly views: ViewSource;
  checkNode(num: number): Promise<Reply<unknown, Errno>>;
  pickNode(): Answer<number>;
}

export function actorCalls(deps: ActorCallDeps): ActorCalls {
  const { link, calls, views } = deps;
  const mail = new Mail(link, calls, views);
  const asEvent = (event: unknown): { type: string } => event as { type: string };

  return {
    spawn: (definition, options) =>
      withSpan(
        link.tracer,
        'ssi.spawn',
        { attributes: { 'ssi.actor': definition.type } },
        async (traceparent) => {
          const picked = options.node === undefined ? await deps.pickNode() : ok(options.node);
          if (!picked.ok) return picked;
          const node = picked.value;
          const known = await deps.checkNode(node);
          if (!known.ok) return known;
          const request = { type: definition.type, input: options.input, uid: link.uid };
          const reply = await link.ics.call(vproc, 'actorSpawn', node, request, {
            waitForServer: true,
            ...(traceparent && { context: { priority: 0, traceparent } }),
          });
          if (!reply.ok) return reply;
          mail.learn(reply.value.pid, node);
          return ok({ pid: reply.value.pid, type: definition.type });
        },
      ),
    rfork: (ref, to) =>
      withSpan(
        link.tracer,
        'ssi.rfork',
        { attributes: { 'ssi.pid': ref.pid } },
        async (traceparent) => {
          const known = await deps.checkNode(to);
          if (!known.ok) return known;
          const { uid } = link;
          const reply = (await calls.atExecution(
            'rfork',
            ref.pid,
            { pid: ref.pid, to, uid },
            { safe: false, deadlineMs: forkMs, traceparent },
          )) as Reply<{ pid: number }>;
          if (!reply.ok) return reply;
          mail.learn(reply.value.pid, to);
          return ok({ ...ref, pid: reply.value.pid });
        },
      ),
    ask: async (ref, event, options = {}) => {
      const reply = await mail.deliver('ask', ref.pid, asEvent(event), options);
      return reply.ok ? ok(reply.value.value) : (reply as Reply<never>);
    },
    send: async (ref, event, options = {}) => {
      const reply = await mail.deliver('send', ref.pid, asEvent(event), options);
      return reply.ok ? ok(undefined) : (reply as Reply<never>);
    },
    host: async ({ node, actors, effects }) => {
      if (!link.openEndpoint)
        return fail('EOPNOTSUPP', 'this handle has no bus of its own to serve on');
      const opened = await link.openEndpoint(node, 'actor');
      if (!opened.ok) return opened;
      return ok(
        createActorHost({
          ...opened.value,
          clock: link.clock,
          node,
          actors,
          ...(effects && { effects }),
        }),
      );
    },
  };
}
