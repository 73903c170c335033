// A cluster of one node in this test's own process, on a real bus: membership that knows one view, and
// processes that are plain children of the test with their streams in memory. Enough to run the real
// command against, as a process of its own.
import { type ChildProcess, spawn } from 'node:child_process';
import { clientClock } from '@ssi/client';
import { attachKind, clms, type ExitStatus, fail, ok, type View, vproc } from '@ssi/contracts';
import { createEndpoint, type Endpoint } from '@ssi/ics';
import { type Stream, seededRandom } from '@ssi/ports';
import { pack, unpack } from 'msgpackr';
import { startNatsServer } from '../../ports/test/nats-server.ts';

interface Program {
  readonly child: ChildProcess;
  readonly logs: { out: Buffer; err: Buffer };
  inputAt: number;
  exit: ExitStatus | undefined;
  changed: (() => void)[];
}

export interface SmallCluster {
  readonly env: NodeJS.ProcessEnv;
  /** Sizes that a terminal was given. */
  readonly resized: string[];
  /** Pids of programs that have not ended. */
  living(): number[];
  stop(): Promise<void>;
}

const incarnation = { bootCount: 1, bootId: '1'.repeat(16) };
const view: View = {
  ...{ transid: 3, term: 1, master: 1, keyServices: {}, pidBits: 16 },
  members: [
    {
      ...{ num: 1, name: 'n1', incarnation, state: 'UP' },
      facts: {
        ...{ addresses: ['127.0.0.1'], cpus: 1, memBytes: 1, kernel: 'x', arch: 'x86_64' },
        ...{ cpuFlags: [], native: true, heartbeatPorts: { udp: 0, tcp: 0 }, versions: {} },
      },
    },
  ],
};

export async function startSmallCluster(): Promise<SmallCluster> {
  const server = await startNatsServer();
  const endpoints: Endpoint[] = [];
  const serviceOf = async (service: string): Promise<Endpoint> => {
    const opened = await createEndpoint({
      ...{ cluster: 'small', node: 1, service, clock: clientClock, nats: server.url },
      random: seededRandom(service.length),
    });
    if (!opened.ok) throw new Error(opened.detail);
    opened.value.ics.setView(view);
    endpoints.push(opened.value);
    return opened.value;
  };
  const membership = await serviceOf('clms');
  const self = { num: 1, incarnation };
  membership.ics.serve(clms, {
    members: () => ok({ view, self, leased: true, services: [{ name: 'vproc', state: 'up' }] }),
  });
  const processes = await serviceOf('vproc');
  const listener = await processes.streams.listen();
  const programs = new Map<number, Program>();
  const resized: string[] = [];
  let next = 65_600;

  const start = (argv: readonly string[], env: Record<string, string>): Program => {
    const child = spawn(argv[0] ?? '', argv.slice(1), { env, detached: true });
    const empty = Buffer.alloc(0);
    const program: Program = {
      ...{ child, logs: { out: empty, err: empty }, inputAt: 0, exit: undefined, changed: [] },
    };
    const wake = (): void => {
      for (const fn of program.changed.splice(0)) fn();
    };
    for (const name of ['out', 'err'] as const)
      child[`std${name}`]?.on('data', (chunk: Buffer) => {
        program.logs[name] = Buffer.concat([program.logs[name], chunk]);
        wake();
      });
    child.on('close', (code, signal) => {
      program.exit = { pid: next, code: signal ? null : (code ?? 0), signal };
      wake();
    });
    return program;
  };

  const serve = async (pid: number, program: Program, stream: Stream): Promise<void> => {
    const [, from] = unpack((await stream.read()) ?? new Uint8Array());
    void (async () => {
      for (;;) {
        const message = await stream.read();
        if (!message) return;
        const [kind, offset, bytes] = unpack(message);
        if (kind === attachKind.inputEof) program.child.stdin?.end();
        if (kind !== attachKind.input || offset + bytes.length <= program.inputAt) continue;
        program.child.stdin?.write(Buffer.from(bytes.subarray(program.inputAt - offset)));
        program.inputAt = offset + bytes.length;
        await stream.write(pack([attachKind.ack, 'in', program.inputAt]));
      }
    })().catch(() => {});
    const at = { out: from.out ?? 0, err: from.err ?? 0 };
    for (;;) {
      const ended = program.exit;
      for (const name of ['out', 'err'] as const)
        while (at[name] < program.logs[name].length) {
          const bytes = program.logs[name].subarray(at[name], at[name] + 60_000);
          await stream.write(pack([attachKind.data, name, at[name], bytes]));
          at[name] += bytes.length;
        }
      if (ended) return stream.write(pack([attachKind.exit, { ...ended, pid }]));
      await new Promise<void>((done) => program.changed.push(done));
    }
  };

  processes.ics.serve(vproc, {
    list: () => ok({ processes: [] }),
    run: ({ argv, env }) => {
      if (argv[0] === 'nonesuch') return fail('ENOENT', 'no such program: nonesuch');
      programs.set(++next, start(argv, env));
      return ok({ pid: next });
    },
    where: ({ pid }) => {
      const program = programs.get(pid);
      if (!program) return fail('ESRCH', `no such process: ${pid}`);
      const ids = { pid, ppid: 0, pgid: pid, sid: pid, tids: [], node: 1, hop: 0, born: 1 };
      return ok({
        entry: { ...ids, kind: 'native' as const, phase: program.exit ? 'exited' : 'live' },
      });
    },
    signal: ({ pid, signal }) => {
      const child = programs.get(Math.abs(pid))?.child;
      if (!child?.pid) return fail('ESRCH', `no such process: ${pid}`);
      process.kill(-child.pid, signal);
      return ok({ delivered: 1 });
    },
    wait: ({ pid }) => {
      const exit = programs.get(pid)?.exit;
      return exit ? ok({ ...exit, pid }) : fail('EAGAIN', 'it runs');
    },
    resize: ({ rows, cols }) => {
      resized.push(`${rows}x${cols}`);
      return ok({});
    },
    attach: ({ pid }) => {
      const program = programs.get(pid);
      if (!program) return fail('ENOENT', 'not here');
      const token = pid.toString(16).padStart(32, '0');
      listener.accept(token, (stream) => void serve(pid, program, stream).catch(() => {}));
      const streams = (['in', 'out', 'err'] as const).map((name) => ({
        ...{ owner: pid, name, startOffset: 0, fedOffset: 0, eof: false },
        endOffset: name === 'in' ? program.inputAt : program.logs[name].length,
      }));
      return ok({ token, addresses: ['127.0.0.1'], port: listener.port, streams, tty: false });
    },
  });

  return {
    env: { PATH: process.env.PATH, SSI_NATS: server.url, SSI_CLUSTER: 'small' },
    resized,
    living: () => [...programs].flatMap(([pid, p]) => (p.exit ? [] : [pid])),
    stop: async () => {
      for (const { child } of programs.values()) child.kill('SIGKILL');
      await listener.close();
      for (const e of endpoints) await e.close();
      await server.stop();
    },
  };
}
