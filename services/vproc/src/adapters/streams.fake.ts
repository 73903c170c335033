// Standard streams in memory: logs with offsets, a FIFO of input that the program reads from, positions
// that survive a killed vproc as the kernel's do. Twin of streams.linux.ts.
import { fail, ok, type StreamState } from '@ssi/contracts';
import type { StreamPaths, StreamStore, TtySize } from '../ports.ts';
import type { FakeMachine } from './machine.fake.ts';

interface Log {
  bytes: Uint8Array;
  start: number;
  eof: boolean;
}
interface OwnerFiles {
  readonly in: Log;
  readonly out: Log;
  readonly err: Log;
  /** Input handed to the program's FIFO. */
  fed: number;
  /** Input the program has taken. */
  taken: number;
  inputPaused: boolean;
  paused: boolean;
  /** Output the program wrote that no pump has taken yet. */
  fifo: Uint8Array[];
  tty: TtySize | undefined;
}

const names = ['in', 'out', 'err'] as const;
const newLog = (start = 0): Log => ({ bytes: new Uint8Array(), start, eof: false });
const endOf = (log: Log): number => log.start + log.bytes.length;

function put(log: Log, offset: number, data: Uint8Array): void {
  const at = offset - log.start;
  const bytes = new Uint8Array(Math.max(log.bytes.length, at + data.length));
  bytes.set(log.bytes);
  bytes.set(data, at);
  log.bytes = bytes;
}

/** What is on the node's tmpfs and in its kernel. */
export class FakeStreamFiles {
  readonly owners = new Map<number, OwnerFiles>();
  private readonly listeners = new Map<number, Set<() => void>>();

  make(owner: number, tty: TtySize | undefined, start: readonly StreamState[] = []): void {
    const at = (name: string): number => start.find((s) => s.name === name)?.startOffset ?? 0;
    this.owners.set(owner, {
      in: newLog(at('in')),
      out: newLog(at('out')),
      err: newLog(at('err')),
      fed: 0,
      taken: 0,
      inputPaused: start.length > 0,
      paused: start.length > 0,
      fifo: [],
      tty,
    });
  }

  /** Nobody reads any more: a writer gets SIGPIPE. */
  isClosed(owner: number): boolean {
    const files = this.owners.get(owner);
    return !files || files.out.eof;
  }
  /** A program writes; false: there is nothing to write to. */
  writeOutput(owner: number, text: string): boolean {
    const files = this.owners.get(owner);
    if (!files) return false;
    files.fifo.push(new TextEncoder().encode(text));
    this.pump(owner);
    return true;
  }
  pump(owner: number, drain = false): void {
    const files = this.owners.get(owner);
    if (!files || (files.paused && !drain)) return;
    for (const data of files.fifo) put(files.out, endOf(files.out), data);
    files.fifo = [];
    this.changed(owner);
  }
  /** The program reads what was handed to it; the bytes' count. */
  readInput(owner: number): number {
    const files = this.owners.get(owner);
    if (!files) return 0;
    if (!files.inputPaused) files.fed = endOf(files.in);
    const n = files.fed - files.taken;
    files.taken = files.fed;
    return Math.max(0, n);
  }
  changed(owner: number): void {
    for (const fn of [...(this.listeners.get(owner) ?? [])]) fn();
  }
  onChange(owner: number, fn: () => void): () => void {
    const all = this.listeners.get(owner) ?? new Set();
    this.listeners.set(owner, all.add(fn));
    return () => all.delete(fn);
  }
  text(owner: number): string {
    return new TextDecoder().decode(this.owners.get(owner)?.out.bytes);
  }
}

const pathsOf = (owner: number): StreamPaths => ({
  in: `/streams/${owner}/in`,
  out: `/streams/${owner}/out`,
  err: `/streams/${owner}/err`,
});

function statesOf(owner: number, files: OwnerFiles): StreamState[] {
  return names.map((name) => ({
    owner,
    name,
    startOffset: files[name].start,
    endOffset: endOf(files[name]),
    fedOffset: name === 'in' ? files.fed : 0,
    eof: files[name].eof,
  }));
}

export function fakeStreams(machine: FakeMachine): StreamStore {
  const { files } = machine;
  const missing = fail('ENOENT', 'no streams');
  const of = (owner: number) => files.owners.get(owner);
  const logOf = (f: OwnerFiles, name: StreamState['name']): Log => f[name === 'tty' ? 'out' : name];
  return {
    unreadInput: (owner) => {
      const f = of(owner);
      return f ? f.fed - f.taken : 0;
    },
    async create({ owner, tty, noInput }) {
      if (machine.fails('streams.create')) return fail('ENOSPC', 'injected');
      if (of(owner)) files.owners.delete(owner);
      files.make(owner, tty);
      const made = of(owner);
      if (made && noInput) made.in.eof = true;
      return ok(pathsOf(owner));
    },
    async adopt(paused) {
      for (const [owner, f] of files.owners) {
        f.paused = paused.includes(owner);
        f.inputPaused = f.paused;
        files.pump(owner);
      }
      return ok([...files.owners.keys()]);
    },
    async state(owner) {
      const f = of(owner);
      return f ? ok(statesOf(owner, f)) : missing;
    },
    tty: (owner) =>
      of(owner)?.tty ? { external: `tty[${owner}:1]`, path: `/dev/pts/${owner}` } : undefined,
    ttySize: (owner) => of(owner)?.tty,
    paths: (owner) => (of(owner) ? pathsOf(owner) : undefined),
    ownerAt: (path) =>
      [...files.owners.keys()].find((o) => Object.values(pathsOf(o)).includes(path)),
    async read(owner, name, offset, maxBytes) {
      const f = of(owner);
      if (!f) return missing;
      const log = logOf(f, name);
      const from = Math.max(offset, log.start);
      const data = log.bytes.slice(from - log.start, from - log.start + maxBytes);
      return ok({ offset: from, data, eof: log.eof && from + data.length >= endOf(log) });
    },
    onChange: (owner, fn) => ({ stop: files.onChange(owner, fn) }),
    async append(owner, offset, data) {
      const f = of(owner);
      if (!f) return missing;
      if (f.in.eof) return fail('EPIPE', 'ended');
      const end = endOf(f.in);
      if (offset > end) return fail('ERANGE', `a gap: the log ends at ${end}`);
      const skip = end - offset;
      if (skip < data.length) put(f.in, end, data.slice(skip));
      files.changed(owner);
      return ok(endOf(f.in));
    },
    async endInput(owner) {
      const f = of(owner);
      if (f) f.in.eof = true;
      return f ? ok() : missing;
    },
    async endOutput(owner) {
      const f = of(owner);
      if (!f) return missing;
      files.pump(owner, true);
      f.out.eof = true;
      f.err.eof = true;
      files.changed(owner);
      return ok();
    },
    async resize(owner, size) {
      const f = of(owner);
      if (!f) return missing;
      if (!f.tty) return fail('ENOTTY', 'no terminal');
      f.tty = size;
      return ok();
    },
    async pauseInput(owner) {
      const f = of(owner);
      if (f) f.inputPaused = true;
      return f ? ok() : missing;
    },
    async pause(owner) {
      const f = of(owner);
      if (!f) return missing;
      if (machine.fails('streams.pause')) return fail('EIO', 'injected');
      f.inputPaused = true;
      f.paused = true;
      files.pump(owner, true);
      return ok(statesOf(owner, f));
    },
    async resume(owner) {
      const f = of(owner);
      if (!f) return missing;
      f.inputPaused = false;
      f.paused = false;
      files.pump(owner);
      return ok();
    },
    async install({ owner, states, tty }) {
      if (machine.fails('streams.install')) return fail('ENOSPC', 'injected');
      files.make(owner, tty, states);
      return ok(pathsOf(owner));
    },
    async fill(owner, name, offset, data) {
      const f = of(owner);
      if (!f) return missing;
      put(logOf(f, name), offset, data);
      return ok();
    },
    async settle(owner, states) {
      const f = of(owner);
      if (!f) return missing;
      f.fifo = [];
      for (const s of states) {
        const log = logOf(f, s.name);
        if (endOf(log) !== s.endOffset) return fail('EIO', `${s.name}: bytes are missing`);
        log.eof = s.eof;
        if (s.name === 'in') {
          f.fed = s.fedOffset;
          f.taken = s.fedOffset;
        }
      }
      return ok();
    },
    async remove(owner) {
      files.owners.delete(owner);
      files.changed(owner);
      return ok();
    },
  };
}
