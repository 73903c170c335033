// All ports on a machine in memory. Each call takes a little of the clock's time, each can be made to
// fail by name, and a copy that criu makes is a real copy: two of one pid would both count.
import { fail, type MoveReason, ok } from '@ssi/contracts';
import { type Clock, sleep } from '@ssi/ports';
import { subtree } from '../move-set.ts';
import type {
  Criu,
  DumpResult,
  Guard,
  Halter,
  Images,
  MoveRecords,
  Preflight,
  Processes,
  ProcessRef,
  Spawner,
  Ssisys,
  Stub,
  VprocPorts,
} from '../ports.ts';
import type { FakeMachine, FakeProcess } from './machine.fake.ts';
import { fakeStreams } from './streams.fake.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const stepMs = 1;

function fakeGuard(m: FakeMachine): Guard {
  return {
    status: async () => ok({ leaseMs: 1_000, frozen: m.frozen, held: m.placeholders.size }),
    watch(onChange) {
      const tell = (): void => onChange(m.frozen, m.clock.nowMs());
      tell();
      return { stop: m.onFrozen(tell) };
    },
    async killPrograms() {
      for (const pid of [...m.processes.keys()]) m.signal(pid, 9);
      return ok();
    },
    async hold(pid) {
      if (m.inUse(pid)) return fail('EEXIST', `${pid} is in use`);
      m.placeholders.add(pid);
      return ok();
    },
    async holdAny() {
      const pid = m.nextNumber();
      if (pid === undefined) return fail('EAGAIN', 'the range is full');
      m.placeholders.add(pid);
      return ok(pid);
    },
    async release(pid) {
      m.placeholders.delete(pid);
      return ok();
    },
    held: async () => ok([...m.placeholders]),
  };
}

function fakeProcesses(m: FakeMachine): Processes {
  return {
    async scan() {
      await sleep(m.clock, stepMs);
      return ok(m.scan());
    },
    inspect: async (pid) => m.scan().find((p) => p.pid === pid),
    followExits(from, onExits) {
      let at = Number(from ?? 0);
      let planned = false;
      const look = (): void => {
        if (planned) return;
        planned = true;
        m.clock.after(stepMs, () => {
          planned = false;
          const fresh = m.exits.slice(at);
          at = m.exits.length;
          if (fresh.length > 0) onExits(fresh, String(at));
        });
      };
      look();
      return { stop: m.onExit(look) };
    },
    async signal(target, signal) {
      const p = m.processes.get(target.pid);
      if (!p || (target.startTicks !== undefined && target.startTicks !== p.startTicks))
        return fail('ESRCH', `no process ${target.pid}`);
      m.signal(target.pid, signal);
      return ok();
    },
  };
}

function fakeSpawner(m: FakeMachine): Spawner {
  return {
    async run({ pid, argv, uid, stopped, streams }) {
      await sleep(m.clock, stepMs);
      if (argv[0] === 'missing') return fail('ENOENT', 'no such program');
      if (m.inUse(pid)) return fail('EEXIST', 'taken');
      const owner = 'in' in streams && streams.in === '/dev/null' ? 0 : pid;
      const state = stopped ? 'stopped' : 'running';
      const p = m.start({ pid, uid, command: argv.join(' '), owner, state });
      if (argv[0] === 'true') m.exit(pid, 0);
      return ok({ pid, startTicks: p.startTicks });
    },
  };
}

function fakeImages(m: FakeMachine): Images {
  return {
    async create(moveId) {
      m.images.set(moveId, new Map());
      return ok();
    },
    async write(moveId, { name, offset, data }) {
      if (m.fails('images.write')) return fail('ENOSPC', 'injected');
      const files = m.images.get(moveId);
      if (!files) return fail('EIO', 'no folder');
      const old = files.get(name) ?? new Uint8Array();
      const next = new Uint8Array(Math.max(old.length, offset + data.length));
      next.set(old);
      next.set(data, offset);
      files.set(name, next);
      return ok();
    },
    async remove(moveId) {
      m.images.delete(moveId);
      return ok();
    },
    list: async () => ok([...m.images.keys()]),
    freeBytes: async () => m.freeBytes,
  };
}

function fakeCriu(m: FakeMachine): Criu {
  const stepping = (): Promise<void> => sleep(m.clock, stepMs);
  return {
    version: async () => ok('4.2.1'),
    dump({ moveId, root }) {
      const work = (async () => {
        await stepping();
        if (m.fails('criu.dump')) return fail('EIO' as const, 'injected');
        const tree = subtree([...m.processes.values()], root);
        if (tree.length === 0) return fail('ESRCH' as const, `no process ${root}`);
        const freezeAtMs = m.clock.nowMs();
        const stoppedBefore = tree.filter((p) => p.state === 'stopped').map((p) => p.pid);
        for (const p of tree) p.state = 'stopped';
        await stepping();
        const image = encoder.encode(JSON.stringify(tree));
        m.images.set(moveId, new Map([['core.img', image]]));
        const result: DumpResult = {
          freezeAtMs,
          frozenMs: stepMs,
          bytes: image.length,
          tasks: tree.map(({ pid, startTicks }) => ({ pid, startTicks })),
          stoppedBefore,
        };
        return ok(result);
      })();
      return {
        done: work,
        chunks: (async function* () {
          const result = await work;
          const data = result.ok ? m.images.get(moveId)?.get('core.img') : undefined;
          if (data) yield { name: 'core.img', offset: 0, data, last: true };
        })(),
      };
    },
    prepare: async () => {},
    discard: async () => {},
    async restore({ moveId, root }) {
      await stepping();
      if (m.fails('criu.restore')) return fail('ECANCELED', 'injected');
      const image = m.images.get(moveId)?.get('core.img');
      if (!image) return fail('ECANCELED', 'no images');
      const tree = JSON.parse(decoder.decode(image)) as FakeProcess[];
      const taken = tree.find((p) => m.processes.has(p.pid) || m.placeholders.has(p.pid));
      if (taken) return fail('ECANCELED', `${taken.pid} is in use`);
      const made = tree.map((p) => {
        const { startTicks: _, ...rest } = p;
        return m.start({ ...rest, state: 'stopped', ppid: p.pid === root ? 0 : p.ppid });
      });
      await stepping();
      return ok({
        tasks: made.map(({ pid, startTicks }) => ({ pid, startTicks })),
        restoreMs: 2 * stepMs,
      });
    },
    async resume(tasks, stoppedBefore) {
      for (const { pid, startTicks } of [...tasks].reverse()) {
        const p = m.processes.get(pid);
        if (p?.startTicks === startTicks && !stoppedBefore.includes(pid)) p.state = 'running';
      }
      return ok();
    },
    async destroy(tasks) {
      await stepping();
      if (m.fails('criu.destroy')) return fail('ETIMEDOUT', 'injected');
      for (const { pid, startTicks } of tasks)
        for (const p of subtree([...m.processes.values()], pid))
          if (p.pid !== pid || p.startTicks === startTicks) m.exit(p.pid, null, 'SIGKILL');
      await stepping();
      return ok();
    },
    cleanUp: async () => ok(),
  };
}

function fakeRecords(m: FakeMachine, store: Map<string, string>, name: string): MoveRecords {
  return {
    async write(moveId, record) {
      if (m.fails(`${name}.write`)) return fail('ENOSPC', 'injected');
      store.delete(moveId);
      store.set(moveId, JSON.stringify(record));
      return ok();
    },
    list: async () =>
      m.fails(`${name}.list`)
        ? fail('EIO', 'injected')
        : ok([...store].map(([moveId, text]) => ({ moveId, record: JSON.parse(text) as unknown }))),
    async remove(moveId) {
      store.delete(moveId);
      return ok();
    },
  };
}

export interface FakePreflight extends Preflight {
  /** What `inspect` finds, by pid. */
  readonly reasons: Map<number, MoveReason>;
}

function fakePreflight(m: FakeMachine): FakePreflight {
  const reasons = new Map<number, MoveReason>();
  return {
    reasons,
    kernel: () => 'fake',
    cpuFlags: () => ['sse2'],
    inspect: async ({ pids }) =>
      ok({
        reasons: pids.flatMap((pid) => reasons.get(pid) ?? []),
        files: [],
        bytesEstimate: 4096 * pids.length,
      }),
    opened: async ({ pids }) => ({ reasons: pids.flatMap((pid) => reasons.get(pid) ?? []) }),
    checkFiles: async () => [],
    checkNumbers: async (numbers, held) =>
      numbers
        .filter((n) => m.inUse(n) && !held.includes(n))
        .map((pid) => ({ code: 'EPIDBUSY', pid, detail: 'in use' })),
  };
}

const fakeStub = (m: FakeMachine): Stub => {
  const own = (ref: ProcessRef) => {
    const p = m.processes.get(ref.pid);
    return p?.startTicks === ref.startTicks ? p : undefined;
  };
  return {
    async replace(ref) {
      await sleep(m.clock, stepMs);
      const p = own(ref);
      if (!p) return fail('ESRCH', `no process ${ref.pid}`);
      Object.assign(p, { stub: [], state: 'running', owner: 0, command: 'ssi-stub' });
      return ok(ref);
    },
    async end(ref, { code, signal }) {
      if (!own(ref)) return fail('ESRCH', `no process ${ref.pid}`);
      m.exit(ref.pid, code, signal);
      return ok();
    },
    signals: async (pid, from) => m.processes.get(pid)?.stub?.slice(from) ?? [],
    forget: async () => {},
  };
};

const fakeHalter = (m: FakeMachine): Halter => ({
  async halt(ref) {
    await sleep(m.clock, stepMs);
    const p = m.processes.get(ref.pid);
    if (p?.startTicks !== ref.startTicks) return fail('ESRCH', `no process ${ref.pid}`);
    const stoppedBefore = p.state === 'stopped';
    p.state = 'stopped';
    return ok({ atMs: m.clock.nowMs(), stoppedBefore, cwd: '/', uid: p.uid, gid: 0 });
  },
});

const fakeSsisys = (m: FakeMachine): Ssisys => ({
  serve(answer) {
    m.ssisys = answer;
    return { stop: () => {} };
  },
});

export interface FakePorts extends VprocPorts {
  readonly preflight: FakePreflight;
}

export const fakePorts = (m: FakeMachine): FakePorts => ({
  guard: fakeGuard(m),
  processes: fakeProcesses(m),
  spawner: fakeSpawner(m),
  streams: fakeStreams(m),
  images: fakeImages(m),
  criu: fakeCriu(m),
  records: fakeRecords(m, m.records, 'records'),
  state: fakeRecords(m, m.state, 'state'),
  preflight: fakePreflight(m),
  stub: fakeStub(m),
  stubRecords: fakeRecords(m, m.stubs, 'stubs'),
  ssisys: fakeSsisys(m),
  halter: fakeHalter(m),
  holders: {
    of: async (paths) => {
      const owner = Number(('in' in paths ? paths.in : paths.tty).split('/')[2]);
      return m.scan().filter((p) => m.processes.get(p.pid)?.owner === owner);
    },
    ownerOf: async (pid) => m.processes.get(pid)?.owner || undefined,
  },
});

/** A life of a service on the machine: what it calls after its end never returns, and nobody calls it. */
export class Life {
  alive = true;

  end(): void {
    this.alive = false;
  }
  /** The same port, as long as this life lasts. */
  of<T extends object>(port: T): T {
    return new Proxy(port, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (!this.alive) return new Promise(() => {});
          return this.gate(
            (value as (...a: unknown[]) => unknown).apply(
              target,
              args.map((a) => this.back(a)),
            ),
          );
        };
      },
    });
  }
  private gate(result: unknown): unknown {
    if (!(result instanceof Promise)) return result;
    return new Promise((done, failed) => {
      result.then(
        (v) => this.alive && done(v),
        (e) => this.alive && failed(e),
      );
    });
  }
  private back(arg: unknown): unknown {
    if (typeof arg !== 'function') return arg;
    return (...args: unknown[]) =>
      this.alive ? (arg as (...a: unknown[]) => unknown)(...args) : undefined;
  }

  clock(clock: Clock): Clock {
    return {
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      after: (ms, fn) => clock.after(ms, () => this.alive && fn()),
    };
  }
}
