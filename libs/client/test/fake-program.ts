// A program with streams on a fake cluster: it echoes nothing and knows nothing, it has an output log
// that grows and an input log that fills, on one node at a time, behind connections that break.
import { attachKind, type ExitStatus, fail, type OriginEntry, ok } from '@ssi/contracts';
import type { Stream } from '@ssi/ports';
import { pack, unpack } from 'msgpackr';
import type { FakeCluster } from './fake-cluster.ts';

export interface FakeProgram {
  readonly pid: number;
  node: number;
  /** Everything written to its standard output. */
  out: Uint8Array;
  /** Everything it was sent. */
  readonly input: number[];
  inputEnd: number | undefined;
  exit: ExitStatus | undefined;
  /** Connections made so far. */
  connections: number;
  /** After this many messages sent the connection breaks; consumed one by one. */
  breaks: number[];
  /** First offset the log still has. */
  logStart: number;
  /** Tells the exit before anything else, as a node may that knew it when we came. */
  exitFirst: boolean;
  write(bytes: Uint8Array): void;
  end(status: ExitStatus): void;
  /** To another node: the connection ends with `moved`. */
  move(to: number): void;
}

export const entryOf = (p: FakeProgram): OriginEntry => ({
  pid: p.pid,
  ppid: 0,
  pgid: p.pid,
  sid: p.pid,
  tids: [],
  kind: 'native',
  node: p.node,
  hop: 0,
  phase: p.exit ? 'exited' : 'live',
  ...(p.exit && { exit: p.exit }),
});

export function fakeProgram(cluster: FakeCluster, pid: number, node: number): FakeProgram {
  let changed: (() => void)[] = [];
  const wake = (): void => {
    const woken = changed;
    changed = [];
    for (const fn of woken) fn();
  };
  const program: FakeProgram = {
    pid,
    node,
    out: new Uint8Array(),
    input: [],
    inputEnd: undefined,
    exit: undefined,
    connections: 0,
    breaks: [],
    logStart: 0,
    exitFirst: false,
    write: (bytes) => {
      const next = new Uint8Array(program.out.length + bytes.length);
      next.set(program.out);
      next.set(bytes, program.out.length);
      program.out = next;
      wake();
    },
    end: (status) => {
      program.exit = status;
      wake();
    },
    move: (to) => {
      program.node = to;
      wake();
    },
  };

  async function serve(server: Stream, home: number): Promise<void> {
    program.connections++;
    let left = program.breaks.shift() ?? Number.POSITIVE_INFINITY;
    const send = async (message: unknown[]): Promise<void> => {
      if (left-- <= 0) server.destroy();
      await server.write(pack(message));
    };
    if (program.exitFirst && program.exit) await send([attachKind.exit, program.exit]);
    const opening = unpack((await server.read()) ?? new Uint8Array([0xc0]));
    let next: number = Math.max(program.logStart, opening[1].out ?? 0);
    const reader = (async () => {
      for (;;) {
        const bytes = await server.read();
        if (!bytes) return;
        const [kind, at, data] = unpack(bytes);
        if (kind === attachKind.input) {
          if (at > program.input.length) throw server.destroy(); // a gap
          for (let i = program.input.length - at; i < data.length; i++) program.input.push(data[i]);
          await send([attachKind.ack, 'in', program.input.length]);
        } else if (kind === attachKind.inputEof) program.inputEnd = at;
      }
    })();
    void reader.catch(() => {});
    for (;;) {
      if (program.node !== home) {
        await send([attachKind.moved, program.node]);
        return;
      }
      if (next < program.out.length) {
        const bytes = program.out.subarray(next, next + 7);
        await send([attachKind.data, 'out', next, bytes]);
        next += bytes.length;
      } else if (program.exit) {
        await send([99, 'a kind of a later version']);
        await send([attachKind.exit, program.exit]);
        return;
      } else await new Promise<void>((done) => changed.push(done));
    }
  }

  cluster.handlers['vproc.where'] = ({ pid: asked }: { pid: number }) =>
    asked === pid ? ok({ entry: entryOf(program) }) : fail('ESRCH', `no such process: ${asked}`);
  cluster.handlers['vproc.attach'] = ({ pid: asked }: { pid: number }, at: number) => {
    if (asked !== pid) return fail('ENOENT', 'not here');
    if (at !== program.node) return fail('EREMCHG', 'it moved', program.node);
    const token = `${at}-${pid}`;
    cluster.listeners.set(token, (server) => {
      void serve(server, at).catch(() => {});
    });
    const stream = { owner: pid, startOffset: program.logStart, fedOffset: 0, eof: false };
    return ok({
      token,
      addresses: [`10.0.0.${at}`],
      port: 1,
      tty: false,
      streams: [
        { ...stream, name: 'out', endOffset: program.out.length },
        { ...stream, name: 'in', startOffset: 0, endOffset: program.input.length },
      ],
    });
  };
  return program;
}
