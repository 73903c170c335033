// Stand-ins for children that moved while their parent stayed: each ends as its process ends elsewhere, so
// that the parent's own wait(2) gets it; signals that the parent sends to it are passed on. They are no
// copies: the table shows the process where it runs, never its stub. [wait(2), kill(2); design 7]
import { type ExitStatus, type MoveTask, vproc } from '@ssi/contracts';
import { sleep } from '@ssi/ports';
import { untilAnswered, untilDone } from './backoff.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { CopyRef } from './migrate.ts';
import type { MoveRecords } from './ports.ts';

const lookMs = 50;
const retryMs = 200;
const SIGKILL = 9;
const SIGCONT = 18;
const SIGSTOP = 19;
const patience = { firstMs: 20, maxMs: 500 };

/** What stays of a moved child on its parent's node, on tmpfs. */
interface StubRecord extends CopyRef {
  readonly ppid: number;
  /** False: the copy may still be the process itself, stopped. */
  readonly standing: boolean;
  /** Signals that were passed on. */
  readonly passed: number;
  /** It was told to end, or is dead: its end is no news for the process. */
  readonly ending: boolean;
}
const recordKey = (pid: number): string => pid.toString(16).padStart(32, '0');

export class Stubs {
  /** A stub is gone: its number may have to be held. */
  onGone: () => void = () => {};
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly records: MoveRecords;
  private readonly stubs = new Map<number, StubRecord>();
  private readonly stopped = new Set<number>();
  private looking = false;

  constructor(node: LocalNode, local: LocalProcesses, records: MoveRecords) {
    this.node = node;
    this.local = local;
    this.records = records;
  }

  /** Numbers that a stub has on this node. */
  pids(): IterableIterator<number> {
    return this.stubs.keys();
  }
  has(pid: number): boolean {
    return this.stubs.has(pid);
  }
  /** A stub whose parent is among these. */
  childOf(pids: readonly number[]): number | undefined {
    return [...this.stubs.values()].find((s) => pids.includes(s.ppid))?.pid;
  }

  /** After a start, before the first scan. */
  async adopt(): Promise<void> {
    for (const { record } of await untilDone(this.node, 'stubs', () => this.records.list())) {
      const stub = record as StubRecord;
      this.stubs.set(stub.pid, stub);
      this.local.hide([stub.pid]);
      if (stub.standing) this.follow(stub);
    }
  }

  /** The move is decided: the stopped copy becomes a stub. Idempotent; resolves when it is, or is dead. */
  async stand(copy: CopyRef, task: MoveTask): Promise<void> {
    this.local.hide([copy.pid]);
    const { stub } = this.node.deps.ports;
    const known = this.stubs.get(copy.pid);
    if (known?.standing) return;
    const { pid, startTicks } = copy;
    const fresh = { pid, startTicks, ppid: task.ppid, standing: false, passed: 0, ending: false };
    await this.write(fresh);
    const replaced = await stub.replace(copy);
    if (!replaced.ok) {
      // Its parent sees it killed; the process lives on elsewhere.
      this.node.deps.log.error('no stub stands in', { ...copy, ...replaced });
      await this.node.deps.ports.criu.destroy([copy]);
    }
    const standing = { ...fresh, standing: true, ending: !replaced.ok };
    await this.write(standing);
    this.follow(standing);
  }

  private async write(stub: StubRecord): Promise<void> {
    this.stubs.set(stub.pid, stub);
    await this.records.write(recordKey(stub.pid), stub);
  }
  /** The record as it is now, unless another stub has the number. */
  private now(stub: StubRecord): StubRecord | undefined {
    const known = this.stubs.get(stub.pid);
    return known?.startTicks === stub.startTicks && !this.node.stopped ? known : undefined;
  }

  private follow(stub: StubRecord): void {
    if (!stub.ending) void this.await(stub);
    if (this.looking) return;
    this.looking = true;
    void this.look();
  }

  private async look(): Promise<void> {
    const { clock } = this.node.deps;
    while (this.stubs.size > 0 && !this.node.stopped) {
      for (const stub of [...this.stubs.values()])
        if (stub.standing) await this.lookAt(stub).catch((error) => this.warn(stub, error));
      await sleep(clock, lookMs);
    }
    this.looking = false;
  }
  private warn(stub: StubRecord, error: unknown): void {
    this.node.deps.log.warn('stub not looked at', { pid: stub.pid, error: String(error) });
  }

  private async lookAt(before: StubRecord): Promise<void> {
    const { processes, stub: port } = this.node.deps.ports;
    const { pid } = before;
    const seen = await processes.inspect(pid);
    const stub = this.now(before);
    if (!stub) return;
    const there = seen?.startTicks === stub.startTicks ? seen : undefined;
    const dead = !there || there.state === 'zombie';
    if (dead && !stub.ending) {
      // Its parent killed it: that was meant for the process.
      await this.write({ ...stub, ending: true });
      void this.pass(stub, SIGKILL);
    }
    if (!there) return this.remove(stub);
    if (dead) return;
    if (there.ppid !== stub.ppid && !stub.ending) {
      // Nobody is left who could wait for it: the process is an orphan, where it is.
      await this.write({ ...stub, ending: true });
      await processes.signal(stub, SIGKILL, 0);
      return;
    }
    const isStopped = there.state === 'stopped';
    if (isStopped !== this.stopped.has(pid)) {
      if (isStopped) this.stopped.add(pid);
      else this.stopped.delete(pid);
      void this.pass(stub, isStopped ? SIGSTOP : SIGCONT);
    }
    const signals = await port.signals(pid, stub.passed);
    if (signals.length === 0) return;
    for (const signal of signals) await this.pass(stub, signal);
    await this.write({ ...(this.now(stub) ?? stub), passed: stub.passed + signals.length });
  }

  private async remove(stub: StubRecord): Promise<void> {
    this.stubs.delete(stub.pid);
    this.stopped.delete(stub.pid);
    await this.records.remove(recordKey(stub.pid));
    await this.node.deps.ports.stub.forget(stub.pid);
    this.local.show([stub.pid]);
    this.onGone();
  }

  /** Who may signal the stub may signal the process: the kernel has judged that. */
  private async pass(stub: StubRecord, signal: number): Promise<void> {
    const { clock, ics } = this.node.deps;
    await untilAnswered(
      clock,
      patience,
      () => !this.node.stopped,
      async () => {
        const origin = this.node.originOf(stub.pid);
        if (origin === undefined) return undefined;
        const reply = await ics.call(vproc, 'signal', origin, { pid: stub.pid, signal, uid: 0 });
        return reply.ok || reply.errno === 'ESRCH' || reply.errno === 'EINVAL' ? true : undefined;
      },
    );
  }

  /** Until the process ends, wherever it is; then its stub does the same, and its status is taken. */
  private async await(stub: StubRecord): Promise<void> {
    const { clock, ics, log } = this.node.deps;
    const { pid } = stub;
    while (this.now(stub) && !this.now(stub)?.ending) {
      const origin = this.node.originOf(pid);
      const reply =
        origin === undefined
          ? undefined
          : await ics.call(vproc, 'wait', origin, { pid, reap: false });
      if (reply?.ok) return this.end(stub, reply.value, origin);
      if (reply?.errno === 'ECHILD') {
        log.warn('somebody else took the status that a stub waits for', { pid });
        return this.end(stub, { pid, code: null, signal: 'SIGKILL' }, undefined);
      }
      await sleep(clock, retryMs);
    }
  }

  private async end(stub: StubRecord, status: ExitStatus, origin?: number): Promise<void> {
    const known = this.now(stub);
    if (!known || known.ending) return;
    await this.write({ ...known, ending: true });
    await this.node.deps.ports.stub.end(stub, status);
    if (origin === undefined) return;
    const request = { pid: stub.pid, reap: true, noHang: true };
    await this.node.deps.ics.call(vproc, 'wait', origin, request, { timeoutMs: 5_000 });
  }
}
