// The streams of one owner while this vproc runs: which descriptors the pump watches, and what it does
// when one is ready. All state that must survive is in the kernel (positions, FIFO contents) or meta.json.
import { constants, openSync, readSync, rmSync } from 'node:fs';
import { fail, ok, type Reply, type StreamState } from '@ssi/contracts';
import {
  closeFd,
  errnoOf,
  pollHup,
  pollIn,
  pollOut,
  setWindowSize,
  splice,
  takeTerminalInput,
  unread,
} from '@ssi/linux';
import type { Log } from '@ssi/ports';
import type { StreamPaths, TtyBinding, TtySize } from '../ports.ts';
import type { GuardStore } from './guard.linux.ts';
import {
  fifoPath,
  type Held,
  logPath,
  type Meta,
  makeStreamFiles,
  programPaths,
  readMeta,
  type StreamName,
  shareFiles,
  streamNames,
  ttyBinding,
  writeMeta,
} from './stream-files.ts';
import { StreamLog } from './stream-log.ts';
import { bytesToFeedAgain } from './unread-input.ts';

/** Input that the program has not taken yet; more is refused until it has. */
export const inputUnreadMaxBytes = 8 * 2 ** 20;
/** At most this much of one stream in one round, so that one program cannot starve the others. */
const roundBytes = 2 ** 20;
const spliceBytes = 64 * 1024;
/** More than a terminal can hold of its input, erased characters included. */
const inputBehindBytes = 64 * 1024;

export interface PumpContext {
  readonly guard: GuardStore;
  readonly log: Log;
  watch(streams: OwnerStreams, fd: number, events: number): void;
}

export class OwnerStreams {
  readonly listeners = new Set<() => void>();
  readonly #dir: string;
  readonly #owner: number;
  readonly #meta: Meta;
  readonly #context: PumpContext;
  readonly #held: Map<string, Held>;
  readonly #logs = new Map<StreamName, StreamLog>();
  #flow = { input: false, output: false };
  #changed = false;

  private constructor(
    dir: string,
    owner: number,
    meta: Meta,
    held: Map<string, Held>,
    context: PumpContext,
  ) {
    this.#dir = dir;
    this.#owner = owner;
    this.#meta = meta;
    this.#held = held;
    this.#context = context;
    for (const name of streamNames(meta)) {
      const shared = held.get(logPath(dir, name));
      if (!shared) throw new Error(`the guard does not keep ${logPath(dir, name)}`);
      const kind = name === 'in' ? 'input' : 'output';
      this.#logs.set(
        name,
        new StreamLog(logPath(dir, name), shared.fd, kind, meta.bases[name] ?? 0),
      );
    }
  }

  static async make(
    dir: string,
    owner: number,
    meta: Meta,
    context: PumpContext,
  ): Promise<Reply<OwnerStreams, 'ENOSPC' | 'EIO'>> {
    const made = await makeStreamFiles(dir, meta, context.guard);
    if (!made.ok) return made;
    const files = await context.guard.files();
    if (!files.ok) return fail('EIO', files.detail);
    const streams = OwnerStreams.adopt(dir, owner, files.value, context);
    if (streams.ok) for (const log of streams.value.#logs.values()) log.begin();
    return streams;
  }

  static adopt(
    dir: string,
    owner: number,
    files: readonly { readonly fd: number; readonly path: string }[],
    context: PumpContext,
  ): Reply<OwnerStreams, 'EIO'> {
    try {
      const meta = readMeta(dir);
      const held = shareFiles(dir, meta, files, context.guard);
      return held.ok ? ok(new OwnerStreams(dir, owner, meta, held.value, context)) : held;
    } catch (error) {
      return fail('EIO', (error as Error).message);
    }
  }

  paths(): StreamPaths {
    return programPaths(this.#dir, this.#meta);
  }
  binding(): TtyBinding | undefined {
    return ttyBinding(this.#meta);
  }
  masterFd(): number | undefined {
    return this.#meta.tty && this.#held.get(this.#meta.tty.path ?? '')?.fd;
  }

  ttySize(): TtySize | undefined {
    const { tty } = this.#meta;
    return tty && { rows: tty.rows, cols: tty.cols };
  }
  resize(size: TtySize): Reply<undefined, 'ENOTTY' | 'EIO'> {
    const { tty } = this.#meta;
    const master = this.masterFd();
    if (!tty || master === undefined)
      return fail('ENOTTY', `process ${this.#owner} has no terminal`);
    if (setWindowSize(master, size.rows, size.cols) < 0) return fail('EIO', 'TIOCSWINSZ');
    Object.assign(tty, size);
    return this.#save();
  }

  states(): StreamState[] {
    return streamNames(this.#meta).map((name) => {
      const log = this.#log(name);
      // What waits in a terminal's input pipe was taken from the log but has not reached the program.
      const waiting = name === 'in' && this.#meta.tty ? Math.max(0, unread(this.#fifo('in'))) : 0;
      // A terminal may give back some of what was fed: that goes along.
      const behind = this.#meta.tty ? inputBehindBytes : 0;
      const inputStart = Math.max(log.fed - waiting - behind, behind > 0 ? log.start : 0);
      return {
        owner: this.#owner,
        name,
        endOffset: log.end,
        startOffset: name === 'in' ? inputStart : log.start,
        fedOffset: log.fed - waiting,
        eof: name === 'in' ? this.#meta.inputEnded : this.#meta.eof[name] === true,
      };
    });
  }

  /** Bytes in the input FIFO; a terminal's waiting ones are not counted as fed. */
  unreadInput(): number {
    if (this.#meta.tty || this.#meta.noInput) return 0;
    const held = this.#fifo('in');
    if (held >= 0) return Math.max(0, unread(held));
    // Its last writer went: who has not read all of it yet is asked by a reader of our own.
    const path = fifoPath(this.#dir, this.#meta, 'in');
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const bytes = Math.max(0, unread(fd));
    closeFd(fd);
    return bytes;
  }

  read(name: StreamName, offset: number, maxBytes: number) {
    const { offset: from, data } = this.#log(name).read(offset, maxBytes);
    const end = from + data.length >= this.#log(name).end;
    const ended = name === 'in' ? this.#meta.inputEnded : this.#meta.eof[name] === true;
    return { offset: from, data, eof: end && ended };
  }

  append(offset: number, data: Uint8Array): Reply<number, 'ERANGE' | 'EAGAIN' | 'EPIPE' | 'EIO'> {
    const log = this.#log('in');
    const end = log.end;
    if (offset > end) return fail('ERANGE', `input ends at ${end}, not at ${offset}`);
    if (offset + data.length <= end) return ok(end);
    if (this.#meta.inputEnded) return fail('EPIPE', 'the input was ended');
    // Between the two nodes of a move nobody takes bytes: each would end up on one side only.
    if (!this.#flow.input && !this.#flow.output) return fail('EAGAIN', 'the process is moving');
    if (end - log.fed > inputUnreadMaxBytes)
      return fail('EAGAIN', `${inputUnreadMaxBytes} bytes are unread`);
    try {
      log.write(end, data.subarray(end - offset));
    } catch (error) {
      return fail('EIO', (error as Error).message);
    }
    this.#watchInput();
    return ok(log.end);
  }

  endInput(): Reply<undefined, 'EIO'> {
    if (this.#meta.inputEnded) return ok();
    if (this.#meta.tty) this.append(this.#log('in').end, Uint8Array.of(4));
    this.#meta.inputEnded = true;
    const saved = this.#save();
    this.#watchInput();
    return saved;
  }

  endOutput(): Reply<undefined, 'EIO'> {
    let saved: Reply<undefined, 'EIO'> = ok();
    for (const name of this.#outputs()) {
      this.#drain(name, Number.MAX_SAFE_INTEGER);
      const ended = this.#endOf(name);
      if (!ended.ok) saved = ended;
    }
    this.tellChanges();
    return saved;
  }

  /** What may flow from now on. */
  flow(flow: { readonly input: boolean; readonly output: boolean }): void {
    this.#flow = { ...flow };
    for (const name of this.#outputs()) this.#watchOutput(name);
    this.#watchInput();
  }

  /** Source of a move, the program stopped: everything it wrote is in the log when this returns. */
  pause(): StreamState[] {
    for (const name of this.#outputs()) this.#drain(name, Number.MAX_SAFE_INTEGER);
    this.flow({ input: false, output: false });
    this.#takeBack();
    this.tellChanges();
    return this.states();
  }

  fill(name: StreamName, offset: number, data: Uint8Array): Reply<undefined, 'ENOSPC' | 'EIO'> {
    try {
      this.#log(name).write(offset, data);
      return ok();
    } catch (error) {
      return fail(errnoOf(error) === 'ENOSPC' ? 'ENOSPC' : 'EIO', (error as Error).message);
    }
  }

  settle(states: readonly StreamState[]): Reply<undefined, 'EIO'> {
    for (const state of states) {
      const log = this.#logs.get(state.name);
      if (!log) continue;
      log.settle(state.name === 'in' ? state.fedOffset : state.endOffset);
      if (state.name === 'in') {
        this.#meta.inputEnded = state.eof;
        const saved = this.#save();
        if (!saved.ok) return saved;
      } else {
        this.#discard(state.name);
        const ended = state.eof ? this.#endOf(state.name) : ok();
        if (!ended.ok) return ended;
      }
    }
    return ok();
  }

  /** Called by the pump; returns the bytes moved. */
  onReady(fd: number, events: number): number {
    let moved = 0;
    for (const name of this.#outputs())
      if (fd === this.#sourceOf(name) && events & ~pollOut) {
        moved += this.#drain(name, roundBytes);
        // A full disk moves nothing either: the end is only where nothing is left to move.
        const left = unread(this.#fifo(name)) > 0;
        if (moved === 0 && events & pollHup && !left) this.#endOf(name);
      }
    if (fd === this.#inputTarget() && events & pollOut) moved += this.#feed();
    return moved;
  }

  tellChanges(): void {
    if (!this.#changed) return;
    this.#changed = false;
    for (const fn of [...this.listeners]) fn();
  }

  /** `forget`: the guard gives up its descriptions too. */
  async close(forget: boolean): Promise<void> {
    this.flow({ input: false, output: false });
    for (const log of this.#logs.values()) log.close();
    for (const path of [...this.#held.keys()]) await this.#closeHeld(path, forget);
    if (forget) rmSync(this.#dir, { recursive: true, force: true });
  }

  #log(name: StreamName): StreamLog {
    const log = this.#logs.get(name);
    if (!log) throw new RangeError(`no stream ${name}`);
    return log;
  }
  #outputs(): StreamName[] {
    return streamNames(this.#meta).filter((name) => name !== 'in' && !this.#meta.eof[name]);
  }
  #fifo(name: StreamName): number {
    return this.#held.get(fifoPath(this.#dir, this.#meta, name))?.fd ?? -1;
  }
  /** What the pump waits for: the FIFO, or the terminal's master. */
  #sourceOf(name: StreamName): number {
    return this.masterFd() ?? this.#fifo(name);
  }
  #inputTarget(): number {
    return this.masterFd() ?? this.#fifo('in');
  }

  #unfed(): boolean {
    const waiting = this.#meta.tty ? unread(this.#fifo('in')) : 0;
    return this.#log('in').fed < this.#log('in').end || waiting > 0;
  }

  #watchOutput(name: StreamName): void {
    if (this.#meta.tty) this.#watchMaster();
    else this.#context.watch(this, this.#fifo(name), this.#flow.output ? pollIn : 0);
  }
  #watchInput(): void {
    if (this.#meta.tty) this.#watchMaster();
    if (this.#meta.tty || this.#fifo('in') < 0) return;
    const feeds = this.#flow.input && this.#unfed();
    this.#context.watch(this, this.#fifo('in'), feeds ? pollOut : 0);
    // The last writer goes: the program reads what is left, then EOF.
    if (this.#flow.input && !feeds && this.#meta.inputEnded)
      void this.#closeHeld(fifoPath(this.#dir, this.#meta, 'in'), true);
  }
  #watchMaster(): void {
    const fd = this.masterFd();
    if (fd === undefined) return;
    const reads = this.#flow.output && !this.#meta.eof.tty;
    const writes = this.#flow.input && this.#unfed() && !this.#meta.eof.tty;
    this.#context.watch(this, fd, (reads ? pollIn : 0) | (writes ? pollOut : 0));
  }

  /** Moves output into its log; at most `max` bytes, or all there is. */
  #drain(name: StreamName, max: number): number {
    const log = this.#log(name);
    let moved = 0;
    while (moved < max) {
      if (this.#meta.tty) splice(this.#sourceOf(name), this.#fifo(name), spliceBytes);
      const n = splice(this.#fifo(name), log.shared, spliceBytes);
      if (n <= 0) break;
      moved += n;
    }
    if (moved > 0) {
      this.#changed = true;
      log.trim();
    }
    return moved;
  }

  /** What a terminal holds unread stays behind when its program goes: it is to be fed again. */
  #takeBack(): void {
    const { tty } = this.#meta;
    const taken = tty?.path ? takeTerminalInput(tty.path) : undefined;
    if (!taken || taken.length === 0) return;
    const log = this.#log('in');
    const fifo = this.#fifo('in');
    const fed = log.fed - Math.max(0, unread(fifo));
    const behind = log.read(Math.max(0, fed - inputBehindBytes), inputBehindBytes);
    const before = behind.data.subarray(0, Math.max(0, fed - behind.offset));
    log.rewind(fed - bytesToFeedAgain(before, taken));
    // The log has these bytes too, and they come after those.
    empty(fifo);
  }

  #feed(): number {
    const log = this.#log('in');
    const fifo = this.#fifo('in');
    let moved = 0;
    while (this.#flow.input && moved < roundBytes) {
      const n = splice(log.shared, fifo, spliceBytes);
      if (n > 0) moved += n;
      if (!this.#meta.tty && n <= 0) break;
      if (this.#meta.tty && splice(fifo, this.masterFd() ?? -1, spliceBytes) <= 0) break;
    }
    if (moved > 0) {
      this.#changed = true;
      log.trim();
    }
    this.#watchInput();
    return moved;
  }

  /** What a restore put into an output FIFO is in the log already. */
  #discard(name: StreamName): void {
    if (!this.#meta.tty) empty(this.#fifo(name));
  }

  /** Not on record: it has not ended yet. The hang-up is there the next time too. */
  #endOf(name: StreamName): Reply<undefined, 'EIO'> {
    this.#meta.eof[name] = true;
    const saved = this.#save();
    if (!saved.ok) {
      this.#meta.eof[name] = false;
      return saved;
    }
    this.#changed = true;
    void this.#closeHeld(
      this.#meta.tty ? (this.#meta.tty.path ?? '') : fifoPath(this.#dir, this.#meta, name),
      true,
    );
    return saved;
  }

  /** What it holds counts for this process in any case, and for the next one once there is room. */
  #save(): Reply<undefined, 'EIO'> {
    try {
      writeMeta(this.#dir, this.#meta);
      return ok();
    } catch (error) {
      return fail('EIO', (error as Error).message);
    }
  }

  async #closeHeld(path: string, forget: boolean): Promise<void> {
    const held = this.#held.get(path);
    if (!held) return;
    this.#held.delete(path);
    this.#context.watch(this, held.fd, 0);
    closeFd(held.fd);
    if (!forget) return;
    const closed = await this.#context.guard.closeFile(held.guardFd);
    if (!closed.ok) this.#context.log.warn('the guard keeps a stream', { path, ...closed });
  }
}

function empty(fifo: number): void {
  const nothing = Buffer.allocUnsafe(spliceBytes);
  try {
    while (readSync(fifo, nothing) > 0);
  } catch {
    // EAGAIN: empty
  }
}
