// The standard streams of a process for clients, by offset (libs/contracts/src/attach.ts). A client that
// reconnects, or follows a move, goes on where it was: nothing here remembers it.
import {
  type AttachFromClient,
  type AttachFromServer,
  type AttachOutputName,
  attachChunkMax,
  attachFromClient,
  attachKind,
  attachWindow,
  type ExitStatus,
  fail,
  type Incarnation,
  ics,
  ok,
  type Reply,
  type ReplyOf,
  sameIncarnation,
  type vproc,
} from '@ssi/contracts';
import type { ServedCall, Stream } from '@ssi/ports';
import { Packr } from 'msgpackr';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { Moves } from './moves.ts';

const packr = new Packr({ useRecords: false });
/** A token nobody connects with is taken back. */
const tokenMs = 30_000;
/** The input log is full of what the program has not read: asked again. */
const inputRetryMs = 20;

type AttachReply = ReplyOf<(typeof vproc)['ops']['attach']>;

export class Attachments {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly moves: Moves;
  private readonly sessions = new Map<number, Set<Session>>();

  constructor(q: { node: LocalNode; local: LocalProcesses; moves: Moves }) {
    this.node = q.node;
    this.local = q.local;
    this.moves = q.moves;
    // What an excluded life had here may run elsewhere by now: its clients are to ask where.
    let life: Incarnation | undefined;
    q.node.onView(() => {
      const now = q.node.self?.incarnation;
      if (life && now && !sameIncarnation(life, now))
        for (const all of this.sessions.values()) for (const session of all) session.gone();
      life = now;
    });
  }

  async attach(
    request: { pid: number; input: boolean },
    call: ServedCall,
  ): Promise<Reply<AttachReply, 'ENOENT' | 'EREMCHG' | 'EAGAIN' | 'EBUSY'>> {
    const { node } = this;
    const { streams } = node.deps.ports;
    await this.moves.settled(request.pid);
    const owner = this.local.table.get(request.pid)?.owner ?? request.pid;
    const states = await streams.state(owner);
    if (!states.ok) {
      const went = this.moves.whereWent(request.pid);
      return went === undefined
        ? fail('ENOENT', `${request.pid} has no streams on node ${node.num}`)
        : fail('EREMCHG', `${request.pid} moved to node ${went}`, went);
    }
    if (!node.listener) return fail('EAGAIN', 'no listener for streams yet');
    const grant = await node.deps.ics.call(
      ics,
      'grant',
      node.num,
      { service: 'vproc', peer: call.from.node, purpose: 'attach' },
      { context: call.context },
    );
    if (!grant.ok) return fail('EAGAIN', `no grant: ${grant.errno} ${grant.detail}`);
    this.listen(owner, grant.value.token, request.input);
    const tty = streams.tty(owner) !== undefined;
    return ok({ ...grant.value, port: node.listener.port, streams: [...states.value], tty });
  }

  private listen(owner: number, token: string, input: boolean): void {
    let revoke = (): void => {};
    const timer = this.node.deps.clock.after(tokenMs, () => revoke());
    const accepted = this.node.listener?.accept(token, (stream) => {
      timer.cancel();
      const session = new Session(this.node, owner, stream, input);
      const all = this.sessions.get(owner) ?? new Set<Session>();
      this.sessions.set(owner, all.add(session));
      const ended = this.local.table.has(owner) ? undefined : this.local.exits.get(owner)?.exit;
      void session.run(ended).then(() => {
        all.delete(session);
        if (all.size === 0) this.sessions.delete(owner);
      });
    });
    revoke = () => accepted?.revoke();
  }

  exited(owner: number, status: ExitStatus): void {
    for (const session of this.sessions.get(owner) ?? []) session.exited(status);
  }
  /** The streams are another node's now. */
  moved(owner: number, to: number): void {
    for (const session of this.sessions.get(owner) ?? []) session.moved(to);
  }
}

/** One attached client. */
class Session {
  private readonly node: LocalNode;
  private readonly owner: number;
  private readonly stream: Stream;
  private readonly input: boolean;
  /** By output stream: what is sent, and what the client has. */
  private readonly sent = new Map<AttachOutputName, number>();
  private readonly acked = new Map<AttachOutputName, number>();
  private readonly ended = new Set<AttachOutputName>();
  private readonly tty: boolean;
  private exit: { status: ExitStatus; after: Map<string, number> } | undefined;
  private exitTold = false;
  /** The client has said what it wants; before that nothing is sent, its end least of all. */
  private asked = false;
  private movedTo: number | undefined;
  private pumping = false;
  private again = false;
  private open = true;

  constructor(node: LocalNode, owner: number, stream: Stream, input: boolean) {
    this.node = node;
    this.owner = owner;
    this.stream = stream;
    this.input = input;
    this.tty = node.deps.ports.streams.tty(owner) !== undefined;
  }

  async run(exit: ExitStatus | undefined): Promise<void> {
    const changes = this.node.deps.ports.streams.onChange(this.owner, () => this.pump());
    if (exit) this.exited(exit);
    try {
      for (let data = await this.stream.read(); data; data = await this.stream.read()) {
        const parsed = attachFromClient.safeParse(packr.unpack(data));
        // Kinds of a later version are ignored, as the contract says.
        if (parsed.success && !(await this.take(parsed.data))) break;
      }
    } catch {
      // The connection broke: the client comes back by offset.
    }
    this.open = false;
    changes.stop();
    this.stream.destroy();
  }

  /** False: the client broke the protocol. */
  private async take(message: AttachFromClient): Promise<boolean> {
    const { streams } = this.node.deps.ports;
    switch (message[0]) {
      case attachKind.open:
        for (const [name, from] of Object.entries(message[1]) as [AttachOutputName, number][]) {
          this.sent.set(name, from);
          this.acked.set(name, from);
        }
        if (this.input) await this.tellInput();
        this.asked = true;
        this.pump();
        return true;
      case attachKind.ack:
        if (message[1] !== 'in') this.acked.set(message[1], message[2]);
        this.pump();
        return true;
      case attachKind.input:
        return this.input && this.append(message[1], message[2]);
      case attachKind.inputEof:
        if (this.input && !this.tty) await streams.endInput(this.owner);
        return true;
    }
  }

  private async tellInput(): Promise<void> {
    const states = await this.node.deps.ports.streams.state(this.owner);
    const state = states.ok ? states.value.find((s) => s.name === 'in') : undefined;
    if (state) await this.write([attachKind.ack, 'in', state.endOffset]);
  }

  /** Appended before it is acknowledged: from then on it moves with the process. */
  private async append(offset: number, data: Uint8Array): Promise<boolean> {
    const { streams } = this.node.deps.ports;
    while (this.open && !this.node.stopped) {
      const end = await streams.append(this.owner, offset, data);
      if (end.ok) {
        await this.write([attachKind.ack, 'in', end.value]);
        return true;
      }
      if (end.errno === 'ENOENT' || end.errno === 'EPIPE') return true;
      if (end.errno !== 'EAGAIN') return false;
      await new Promise<void>((done) => {
        this.node.deps.clock.after(inputRetryMs, done);
      });
    }
    return true;
  }

  exited(status: ExitStatus): void {
    void this.node.deps.ports.streams.state(this.owner).then((states) => {
      const after = new Map<string, number>();
      if (states.ok) for (const s of states.value) after.set(s.name, s.endOffset);
      this.exit = { status, after };
      this.pump();
    });
  }
  moved(to: number): void {
    this.movedTo = to;
    this.pump();
  }

  private pump(): void {
    this.again = true;
    if (this.pumping) return;
    this.pumping = true;
    void this.work();
  }

  private async work(): Promise<void> {
    while (this.again && this.open) {
      this.again = false;
      if (this.movedTo !== undefined) {
        await this.write([attachKind.moved, this.movedTo]);
        await this.stream.end().catch(() => {});
        this.open = false;
        break;
      }
      for (const name of this.sent.keys()) await this.sendOutput(name);
      await this.tellExit();
    }
    // In one step with the last look at `again`: what changes from here on begins anew.
    this.pumping = false;
  }

  private async sendOutput(name: AttachOutputName): Promise<void> {
    const { streams } = this.node.deps.ports;
    while (this.open && this.movedTo === undefined && !this.ended.has(name)) {
      const at = this.sent.get(name) ?? 0;
      const room = (this.acked.get(name) ?? 0) + attachWindow - at;
      if (room <= 0) return;
      const piece = await streams.read(this.owner, name, at, Math.min(room, attachChunkMax));
      if (!piece.ok) return this.gone();
      const { offset, data, eof } = piece.value;
      if (data.length > 0) {
        await this.write([attachKind.data, name, offset, data]);
        this.sent.set(name, offset + data.length);
        // What the log no longer has is not waited for.
        if (offset > at) this.acked.set(name, Math.max(this.acked.get(name) ?? 0, offset));
      } else if (eof) {
        this.ended.add(name);
        await this.write([attachKind.eof, name, offset]);
      } else return;
    }
  }

  /** The streams left, maybe before this client had connected: it is to ask anew where they are. */
  gone(): void {
    if (this.movedTo !== undefined) return; // that is about to be said
    this.open = false;
    this.stream.destroy();
  }

  private async tellExit(): Promise<void> {
    const { exit } = this;
    if (!exit || this.exitTold || !this.asked) return;
    const behind = [...this.sent].some(([name, at]) => at < (exit.after.get(name) ?? 0));
    if (behind) return;
    this.exitTold = true;
    await this.write([attachKind.exit, exit.status]);
  }

  private async write(message: AttachFromServer): Promise<void> {
    try {
      await this.stream.write(packr.pack(message));
    } catch {
      this.open = false;
    }
  }
}
