// The handle on a cluster, built on a link: the same code runs on NATS and in memory. Where calls go and
// what is repeated is in pid-calls.ts, streams are in attach.ts.
import {
  activeInstance,
  type Contract,
  clms,
  directoryOf,
  dlm,
  type Errno,
  type ExitStatus,
  fail,
  findMember,
  type IpcInfo,
  ics,
  ipc,
  keyOf,
  lvs,
  ok,
  type ProcessInfo,
  type Reply,
  type RequestOf,
  type ResourceInfo,
  upMembers,
  type View,
  vproc,
} from '@ssi/contracts';
import { type Answers, callAll } from '@ssi/ics';
import { refusalNames } from '@ssi/ports';
import { withSpan } from '@ssi/telemetry';
import { actorCalls } from './actor/calls.ts';
import { attach } from './attach.ts';
import { directorCalls } from './director.ts';
import { type ClusterEvent, followEvents } from './events.ts';
import type {
  Answer,
  MigrateReply,
  NodeInfo,
  ProcessList,
  RunRequest,
  Ssi,
  WhyNotReply,
} from './handle.ts';
import { openIpc } from './ipc.ts';
import type { ClientLink } from './link.ts';
import { leastLoaded } from './load.ts';
import { openLockspace } from './lockspace.ts';
import { isGone, type PidCallOptions, pidCalls, type VprocOp } from './pid-calls.ts';
import { viewSource } from './view-source.ts';

/** A move may take long; dumping some GB does. */
const moveMs = 300_000;
/** One long poll of `wait`; asked again as long as the caller waits. */
const waitSliceMs = 60_000;
const listMs = 5_000;
const foreverMs = 365 * 86_400_000;

export function createSsi(link: ClientLink): Ssi {
  const views = viewSource(link);
  const calls = pidCalls(link, views);
  const { uid } = link;

  /** One traced operation: the root span of everything it causes. */
  const traced = <T>(
    name: string,
    attributes: Record<string, string | number>,
    fn: (traceparent: string | undefined) => Promise<T>,
  ): Promise<T> => withSpan(link.tracer, `ssi.${name}`, { attributes }, fn);

  const everyUp = async <C extends Contract, K extends keyof C['ops'] & string>(
    contract: C,
    op: K,
    request: RequestOf<C['ops'][K]>,
    timeoutMs = 2_000,
  ): Answer<{ view: View; answers: Answers<C['ops'][K]> }> => {
    const view = await views.refresh();
    if (!view.ok) return view;
    const answers = await callAll(link.ics, view.value, contract, op, request, { timeoutMs });
    return ok({ view: view.value, answers });
  };

  const checkNode = async (num: number): Answer<View> => {
    let view = await views.current();
    // Before we say no: it may just have come up.
    if (view.ok && findMember(view.value, num)?.state !== 'UP') view = await views.refresh();
    if (!view.ok) return view;
    const member = findMember(view.value, num);
    if (member?.state === 'UP') return view;
    const up = upMembers(view.value).map((m) => m.num);
    return member
      ? fail('EHOSTDOWN', `node ${num} is ${member.state}; UP are: ${up.join(' ')}`)
      : fail('EINVAL', `no node ${num} in this cluster; UP are: ${up.join(' ')}`);
  };

  const nodes = async (): Answer<NodeInfo[]> => {
    const asked = await everyUp(clms, 'members', {});
    if (!asked.ok) return asked;
    const { answers } = asked.value;
    // Each answer carries the view of its node: the newest is shown.
    const newest = [...answers.values()].reduce(
      (view, a) => (a.ok && a.value.view.transid > view.transid ? a.value.view : view),
      asked.value.view,
    );
    return ok(
      newest.members.map((m) => {
        const answer = answers.get(m.num);
        return {
          num: m.num,
          name: m.name,
          state: m.state,
          incarnation: m.incarnation,
          services: answer?.ok ? answer.value.services : [],
          facts: m.facts,
          isMaster: newest.master === m.num,
          keyServices: Object.keys(newest.keyServices).filter(
            (name) => activeInstance(newest, name)?.num === m.num,
          ),
          answers: answer?.ok ?? false,
          ...(m.step && { step: m.step }),
        };
      }),
    );
  };

  const ps = async (): Answer<ProcessList> => {
    const asked = await everyUp(vproc, 'list', {}, listMs);
    if (!asked.ok) return asked;
    const found = new Map<number, ProcessInfo>();
    const silent: { node: number; errno: Errno }[] = [];
    for (const [node, answer] of asked.value.answers) {
      if (!answer.ok) silent.push({ node, errno: answer.errno });
      // One that moved while we asked may be told twice: the later hop is where it is.
      for (const p of answer.ok ? answer.value.processes : [])
        if (p.hop >= (found.get(p.pid)?.hop ?? -1)) found.set(p.pid, p);
    }
    return ok({ processes: [...found.values()].sort((a, b) => a.pid - b.pid), silent });
  };

  const locks: Ssi['locks'] = async (lockspace) => {
    const request = lockspace === undefined ? {} : { lockspace };
    const asked = await everyUp(dlm, 'list', request);
    if (!asked.ok) return asked;
    const { view, answers } = asked.value;
    const silent: { node: number; errno: Errno }[] = [];
    const key = (r: ResourceInfo): string => keyOf(r.lockspace, r.resource, r.parents);
    const resources: ResourceInfo[] = [];
    for (let [node, answer] of answers)
      for (;;) {
        if (!answer.ok) silent.push({ node, errno: answer.errno });
        else resources.push(...answer.value.resources);
        const last =
          answer.ok && answer.value.truncated ? answer.value.resources.at(-1) : undefined;
        if (!last) break;
        answer = await link.ics.call(dlm, 'list', node, { ...request, after: key(last) });
      }
    const orphans = new Set(
      [...answers.values()].flatMap((a) => (a.ok ? (a.value.orphans ?? []) : [])),
    );
    const named = resources.map((r) => {
      const directory = directoryOf(view, key(r));
      const granted = r.granted.map((l) => (orphans.has(l.lkid) ? { ...l, orphan: true } : l));
      return { ...r, granted, ...(directory !== undefined && { directory }) };
    });
    named.sort((a, b) => (key(a) < key(b) ? -1 : 1));
    return ok({ resources: named, silent });
  };

  const ipcs: Ssi['ipcs'] = async (type) => {
    const asked = await everyUp(ipc, 'list', type === undefined ? {} : { type });
    if (!asked.ok) return asked;
    const silent: { node: number; errno: Errno }[] = [];
    const objects: IpcInfo[] = [...asked.value.answers].flatMap(([node, answer]) => {
      if (answer.ok) return answer.value.objects;
      silent.push({ node, errno: answer.errno });
      return [];
    });
    const truncated = [...asked.value.answers.values()].some((a) => a.ok && a.value.truncated);
    return ok({ objects: objects.sort((a, b) => a.id - b.id), silent, truncated });
  };

  const pickNode = async (native: boolean): Answer<number> => {
    const asked = await everyUp(vproc, 'list', {}, listMs);
    if (!asked.ok) return asked;
    const lists = new Map(
      [...asked.value.answers].flatMap(([n, a]) => (a.ok ? [[n, a.value.processes] as const] : [])),
    );
    const num = leastLoaded(asked.value.view, lists, { native });
    return num === undefined
      ? fail('EHOSTUNREACH', 'no UP node takes programs; look at: ssi nodes')
      : ok(num);
  };

  const run = (request: RunRequest): Answer<{ pid: number; node: number }> =>
    traced('run', { 'process.command': request.argv[0] ?? '' }, async (traceparent) => {
      const { node, ...rest } = request;
      const picked = node === undefined ? await pickNode(true) : ok(node);
      if (!picked.ok) return picked;
      const to = picked.value;
      const view = await checkNode(to);
      if (!view.ok) return view;
      const body = { ...rest, uid: rest.uid ?? uid, gid: rest.gid ?? link.gid ?? uid };
      const reply = await link.ics.call(vproc, 'run', to, body, {
        waitForServer: true,
        ...(traceparent && { context: { priority: 0, traceparent } }),
      });
      return reply.ok ? ok({ pid: reply.value.pid, node: to }) : reply;
    });

  const atExecution = <K extends VprocOp>(
    op: K,
    pid: number,
    request: RequestOf<(typeof vproc.ops)[K]>,
    options: PidCallOptions,
  ) =>
    traced(op, { 'ssi.pid': pid }, (traceparent) =>
      calls.atExecution(op, pid, request, { ...options, traceparent }),
    );

  const migrate: Ssi['migrate'] = async (pid, to, options = {}) => {
    const view = await checkNode(to);
    if (!view.ok) return view;
    const request = { pid, to, uid, ...options };
    const reply = await atExecution('migrate', pid, request, { safe: false, deadlineMs: moveMs });
    if (!reply.ok && (reply.errno === 'ETIMEDOUT' || reply.errno === 'EHOSTDOWN'))
      return fail(reply.errno, `${reply.detail}; it may have moved, see: ssi where ${pid}`);
    return reply as Reply<MigrateReply>;
  };

  /**
   * The status is learned first and taken second: an answer that is lost on the way loses no status,
   * and of two waiters one gets it.
   */
  const wait: Ssi['wait'] = async (pid, options = {}) => {
    const endMs = link.clock.nowMs() + (options.timeoutMs ?? foreverMs);
    const { noHang = false, signal } = options;
    for (;;) {
      const leftMs = Math.max(1, endMs - link.clock.nowMs());
      const reply = await calls.atOrigin(
        'wait',
        pid,
        { pid, reap: false, ...(noHang && { noHang }) },
        {
          safe: true,
          againIsAnswer: noHang,
          deadlineMs: Math.min(leftMs, noHang ? listMs : waitSliceMs),
          signal,
        },
      );
      if (signal?.aborted) return fail('ECANCELED', 'no longer waited for');
      const again = !reply.ok && (reply.errno === 'ETIMEDOUT' || reply.errno === 'EAGAIN');
      if (again && !noHang && link.clock.nowMs() < endMs) continue;
      if (!reply.ok || options.reap === false) return reply as Reply<ExitStatus>;
      const taken = await calls.atOrigin(
        'wait',
        pid,
        { pid, reap: true, noHang: true },
        { safe: true, deadlineMs: listMs },
      );
      return !taken.ok && taken.errno === 'ECHILD' ? taken : (reply as Reply<ExitStatus>);
    }
  };

  const kill: Ssi['kill'] = (pid, signal) =>
    traced('kill', { 'ssi.pid': pid, 'ssi.signal': signal }, async (traceparent) => {
      // Asking, killing, stopping and continuing twice is the same as once.
      const safe = [0, 9, 18, 19].includes(signal);
      const reply = await calls.atOrigin(
        'signal',
        Math.abs(pid),
        { pid, signal, uid },
        { safe, traceparent },
      );
      return reply as Reply<{ delivered: number }>;
    });

  return {
    ...actorCalls({ link, calls, views, checkNode, pickNode: () => pickNode(false) }),
    cluster: link.cluster,
    view: () => views.refresh(),
    nodes,
    ps,
    run,
    migrate,
    wait,
    kill,
    where: async (pid) => {
      const reply = await calls.where(pid);
      return reply.ok ? ok(reply.value.entry) : (reply as Reply<never>);
    },
    whyNot: async (pid, options = {}) =>
      (await atExecution('whyNot', pid, { pid, ...options }, { safe: true })) as Reply<WhyNotReply>,
    rexec: async (pid, to, argv, env) => {
      const view = await checkNode(to);
      if (!view.ok) return view;
      const request = { pid, to, argv: [...argv], env: { ...env }, uid };
      const reply = await atExecution('rexec', pid, request, { safe: false, deadlineMs: 20_000 });
      return reply as Reply<{ pid: number; node: number }>;
    },
    attach: (pid, options) => attach({ link, calls, views }, pid, options),
    resize: async (pid, rows, cols) =>
      (await calls.atExecution('resize', pid, { pid, rows, cols }, { safe: true })) as Reply<
        Record<string, never>
      >,
    events: (options) => followEvents(link, views, options),
    history: async () => {
      const view = await views.refresh();
      if (!view.ok) return view;
      let last: Reply<ClusterEvent[]> = fail('EHOSTUNREACH', 'no UP node tells its history');
      for (const { num } of upMembers(view.value)) {
        const reply = await link.ics.call(clms, 'history', num, {}, { timeoutMs: 2_000 });
        if (reply.ok) return ok(reply.value.events);
        last = reply;
      }
      return last;
    },
    trace: (traceId) => link.spans.readTrace(traceId),
    traces: (max = 20) => link.spans.recentTraces(max),
    lockspace: (name, options) => openLockspace(link, views, name, options),
    locks,
    director: directorCalls(link, views),
    ipc: (options) => openIpc(link, views, options),
    ipcs,
    leastLoaded: (options) => pickNode(options?.native ?? false),
    handover: async (service, to) => {
      const view = await views.refresh();
      if (!view.ok) return view;
      const request = to === undefined ? { service } : { service, to };
      return link.ics.call(clms, 'handover', view.value.master, request);
    },
    shutdownNode: (num) =>
      traced('drain', { 'ssi.target': num }, () =>
        link.ics.call(clms, 'shutdown', num, {}, { timeoutMs: 15_000 }),
      ),
    refusals: async () => {
      const asked = await Promise.all(
        [clms, ics, dlm, ipc, lvs, vproc].map((contract) => everyUp(contract, 'status', {})),
      );
      const total: Record<string, number> = {};
      for (const service of asked) {
        if (!service.ok) return service;
        for (const answer of service.value.answers.values())
          for (const name of refusalNames)
            total[name] = (total[name] ?? 0) + (answer.ok ? (answer.value.counters[name] ?? 0) : 0);
      }
      return ok(total);
    },
    revoke: async (words) => {
      const asked = await everyUp(ics, 'revoke', { revoked: [...words] });
      if (!asked.ok) return asked;
      // The routers tell each other: one that knows is enough.
      const answers = [...asked.value.answers.values()];
      return answers.some((a) => a.ok) ? ok() : (answers[0] as Reply<never>);
    },
    bootstrap: (num) => link.ics.call(clms, 'bootstrap', num, { force: true }),
    close: () => link.close(),
  };
}

export const hasExited = isGone;
