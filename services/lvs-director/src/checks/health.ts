// The health of all services: runs their checkers and keeps a pool for each. What to be carried comes out of it.
//
//   const health = startHealth({ clock, random, prober: hostProber(clock), onChange: () => planAgain(), log });
//   health.configure(services);      // at the start and at each change of the table; servers whose node is not UP left out
//   health.carried();                // the same services, with the servers (and weights) that are to get connections now
//   await health.stop();             // nothing runs any more
//
// `onChange` is told after each change of a server, weight or quorum; `carried` is then up to date. Which server is up
// and why not: `states`. notify_* and quorum_* scripts run with `prober`, one after the other, 60 s each at most.
import type { Checker, RealServer, VirtualService } from '@ssi/contracts';
import { serverText, serviceText } from '@ssi/lvs';
import type { Clock, Log, Random, Timer } from '@ssi/ports';
import type { Probe, Prober } from '../ports.ts';
import { afterCheck, type CheckerState, newChecker, timesOf } from './checker.ts';
import {
  carriedBy,
  type Pool,
  type PoolChange,
  type PoolStep,
  poolEnds,
  poolOf,
  serverIs,
  serverWeighs,
} from './pool.ts';

export interface ServerHealthState {
  readonly service: string;
  readonly server: string;
  readonly isUp: boolean;
  /** In force now, also where a checker tells it. */
  readonly weight: number;
  /** Of each checker that is down or whose last result was a failure. */
  readonly reasons: readonly string[];
}

export interface Health {
  /** What is as before keeps its state and its times; the rest begins anew. */
  configure(services: readonly VirtualService[]): void;
  carried(): readonly VirtualService[];
  hasQuorum(service: string): boolean;
  states(): readonly ServerHealthState[];
  /** Idempotent. With omega the scripts of what goes down have run. */
  stop(): Promise<void>;
}

interface Running {
  readonly service: string;
  readonly server: RealServer;
  readonly checker: Checker;
  state: CheckerState;
  timer: Timer | undefined;
  readonly ends: AbortController;
}

/** keepalived does not wait for these; a script that hangs must not keep the later ones for ever. */
const notifyMs = 60_000;
const notifiesMax = 1_024;

export function startHealth(q: {
  readonly clock: Clock;
  readonly random: Random;
  readonly prober: Prober;
  readonly onChange: (service: string, change: PoolChange) => void;
  readonly log: Log;
}): Health {
  let pools = new Map<string, Pool>();
  let running = new Map<string, Running>();
  const notified = new AbortController();
  let notifies = 0;
  let lastNotify: Promise<void> = Promise.resolve();

  function notify(service: string, { what, server, script }: PoolChange): void {
    if (!script) return;
    const about = { service, server, what, script: script[0] };
    if (notifies >= notifiesMax) {
      q.log.warn('a script was left out: too many wait', about);
      return;
    }
    notifies++;
    lastNotify = lastNotify.then(async () => {
      const probe = { kind: 'script', argv: script, timeoutMs: notifyMs } as const;
      const done = await q.prober.probe(probe, notified.signal);
      notifies--;
      const status = done.ok && done.kind === 'script' ? done.exitCode : undefined;
      if (status !== 0) q.log.warn('a script failed', { ...about, status, result: done });
    });
  }

  function take(service: string, { pool, changes }: PoolStep): void {
    pools.set(service, pool);
    for (const change of changes) {
      const { what, server } = change;
      q.log.info(what, { service, server });
      notify(service, change);
      q.onChange(service, change);
    }
  }

  async function check(r: Running): Promise<void> {
    const began = q.clock.nowMs();
    r.timer = undefined;
    const result = await q.prober.probe(probeOf(r), r.ends.signal);
    if (r.ends.signal.aborted) return;
    const was = r.state;
    const tookMs = q.clock.nowMs() - began;
    const { state, tells, nextInMs } = afterCheck(r.checker, was, result, tookMs);
    r.state = state;
    r.timer = q.clock.after(nextInMs, () => void check(r));
    const name = serverText(r.server);
    const isUp = checkersOf(r.service, name).every((other) => other.state.isUp);
    // Told again where the first result of one that began as down is that it is.
    const again = tells === 'down' && !was.isUp && !was.hasRun;
    let pool = pools.get(r.service);
    if (tells && pool) take(r.service, serverIs(pool, name, isUp, again));
    pool = pools.get(r.service);
    if (was.weight !== state.weight && pool)
      take(r.service, serverWeighs(pool, name, state.weight));
  }

  const checkersOf = (service: string, server: string): Running[] =>
    [...running.values()].filter((r) => r.service === service && serverText(r.server) === server);

  function start(service: string, server: RealServer, checker: Checker): Running {
    const ends = new AbortController();
    const r: Running = {
      service,
      server,
      checker,
      state: newChecker(checker),
      timer: undefined,
      ends,
    };
    const first = Math.floor(q.random.float() * timesOf(checker).warmupMs);
    r.timer = q.clock.after(first, () => void check(r));
    return r;
  }

  function end(r: Running): void {
    r.ends.abort();
    r.timer?.cancel();
  }

  return {
    configure(services) {
      if (notified.signal.aborted) return;
      const [before, oldPools] = [running, pools];
      running = new Map();
      pools = new Map();
      for (const { id, servers } of services)
        for (const server of servers)
          for (const [at, checker] of (server.health?.checkers ?? []).entries()) {
            const service = serviceText(id);
            const key = `${service} ${serverText(server)} ${at} ${JSON.stringify(checker)}`;
            running.set(key, before.get(key) ?? start(service, server, checker));
          }
      for (const [key, r] of before) if (!running.has(key)) end(r);
      for (const service of services) {
        const name = serviceText(service.id);
        const isUp = (server: RealServer): boolean =>
          checkersOf(name, serverText(server)).every((r) => r.state.isUp);
        const old = oldPools.get(name);
        // One whose checkers changed is what the new ones say.
        const kept = old && { ...old, servers: keptServers(old, service) };
        take(name, poolOf(service, isUp, kept));
      }
    },
    carried: () => [...pools.values()].map(carriedBy),
    hasQuorum: (service) => pools.get(service)?.hasQuorum ?? false,
    states: () =>
      [...pools].flatMap(([service, pool]) =>
        pool.service.servers.map((s) => {
          const server = serverText(s);
          const known = pool.servers[server];
          const reasons = checkersOf(service, server).map((r) => r.state.reason);
          return {
            ...{ service, server, isUp: known?.isUp ?? false },
            ...{ weight: known?.weight ?? s.weight, reasons: reasons.filter(Boolean) },
          };
        }),
      ),
    async stop() {
      if (notified.signal.aborted) return;
      for (const r of running.values()) end(r);
      running = new Map();
      for (const [service, pool] of pools)
        for (const change of poolEnds(pool)) notify(service, change);
      pools = new Map();
      await lastNotify;
      notified.abort();
    },
  };
}

const checksText = (server: RealServer | undefined): string =>
  JSON.stringify(server?.health?.checkers ?? []);

function keptServers(old: Pool, now: VirtualService): Pool['servers'] {
  const kept = now.servers.filter((s) => {
    const was = old.service.servers.find((o) => serverText(o) === serverText(s));
    return was && checksText(was) === checksText(s);
  });
  const names = new Set(kept.map(serverText));
  return Object.fromEntries(Object.entries(old.servers).filter(([name]) => names.has(name)));
}

/** What its checker asks now. */
function probeOf({ checker: c, server, state }: Running): Probe {
  if (c.kind === 'MISC_CHECK') {
    const timeoutMs = c.timeoutMs ?? timesOf(c).delayLoopMs;
    return { kind: 'script', argv: c.script, timeoutMs };
  }
  const [address, port] = [c.address ?? server.address, c.port ?? server.port];
  const to = { address, port, timeoutMs: c.connectTimeoutMs ?? 5_000 };
  if (c.kind === 'TCP_CHECK') return { kind: 'tcp', ...to };
  const url = c.urls[state.url];
  return {
    ...{ kind: 'http', ...to, tls: c.kind === 'SSL_GET', path: url?.path ?? '/' },
    host: url?.virtualhost ?? c.virtualhost ?? `${address}:${port}`,
    sni: c.kind === 'SSL_GET' && (c.enableSni ?? false),
  };
}
