// Keeps a placeholder for every number of this node's range that someone elsewhere uses, so the kernel
// never hands it out twice. Numbers that a move is about to use here are let go for it.
import { untilDone } from './backoff.ts';
import { heldNumbers, holding } from './held.ts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import { numbersOf } from './move-set.ts';
import type { OriginMap } from './process-table.ts';

const retryMs = 100;

export class Holds {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly origin: OriginMap;
  /** Numbers in use here by stubs. */
  private readonly stubs: () => Iterable<number>;
  private readonly held = new Set<number>();
  /** Numbers lent to moves that bring them back, by move. */
  private readonly lent = new Map<string, readonly number[]>();
  /** Numbers of copies that are going, until the table says where the process is. */
  private readonly leaving = new Map<string, readonly number[]>();
  private working: Promise<void> | undefined;
  private again = false;

  constructor(
    node: LocalNode,
    local: LocalProcesses,
    origin: OriginMap,
    stubs: () => Iterable<number> = () => [],
  ) {
    this.stubs = stubs;
    this.node = node;
    this.local = local;
    this.origin = origin;
  }

  /** What the guard holds already, from before a restart. */
  async adopt(): Promise<void> {
    const { guard } = this.node.deps.ports;
    for (const n of await untilDone(this.node, 'placeholders', () => guard.held()))
      this.held.add(n);
  }

  has(n: number): boolean {
    return this.held.has(n);
  }
  all(): number[] {
    return [...this.held].sort((a, b) => a - b);
  }

  /** Resolves when the placeholders are as the tables want them. */
  sync(): Promise<void> {
    this.again = true;
    this.working ??= this.work().finally(() => {
      this.working = undefined;
    });
    return this.working;
  }

  /** The move will use these numbers here: free when this resolves, until `giveBack`. */
  async lend(moveId: string, numbers: readonly number[]): Promise<void> {
    this.lent.set(moveId, numbers);
    await this.sync();
  }
  giveBack(moveId: string): Promise<void> {
    this.lent.delete(moveId);
    return this.sync();
  }

  /** The numbers of copies that are gone in a moment: held as soon as they are free. */
  async depart(moveId: string, numbers: readonly number[]): Promise<void> {
    this.leaving.set(moveId, numbers);
    await this.sync();
  }
  departed(moveId: string): void {
    this.leaving.delete(moveId);
    void this.sync();
  }

  private wanted(): number[] {
    const view = this.node.view;
    if (!view) return [...this.held];
    const local = new Set(numbersOf([...this.local.table.values()]));
    for (const n of this.stubs()) local.add(n);
    for (const numbers of this.lent.values()) for (const n of numbers) local.add(n);
    const q = { node: this.node.num, pidBits: view.pidBits, local };
    const away = heldNumbers(this.origin.values(), q);
    const leaving = [...this.leaving.values()].flatMap((numbers) =>
      numbers.map((pid) => ({ pid, ppid: 0, pgid: 0, sid: 0, tids: [], node: 0 })),
    );
    const going = heldNumbers(
      leaving.map((e) => ({ ...e, kind: 'native', hop: 0, phase: 'live' })),
      q,
    );
    return [...new Set([...away, ...going])].sort((a, b) => a - b);
  }

  private async work(): Promise<void> {
    const { guard } = this.node.deps.ports;
    while (this.again && !this.node.stopped) {
      this.again = false;
      const todo = holding(this.held, this.wanted());
      let failed = false;
      for (const n of todo.release) {
        const reply = await guard.release(n);
        if (reply.ok) this.held.delete(n);
        else failed = true;
      }
      for (const n of todo.hold) {
        const reply = await guard.hold(n);
        // In use: by a process that is just ending, or one that is itself the reason. Asked again.
        if (reply.ok) this.held.add(n);
        else failed = true;
      }
      if (failed)
        this.node.deps.clock.after(retryMs, () => {
          if (!this.node.stopped) void this.sync();
        });
    }
  }
}
