// Floating addresses of the programs here: which this node should have, by its table and its moves. Each
// step of a move asks for what it needs; `settle` puts right what a death of this service or of the lease
// left. [design: `--addr`]
import { fail, ok, type Reply } from '@ssi/contracts';
import type { LocalNode } from './local-node.ts';
import type { LocalProcesses } from './local-processes.ts';
import type { Moves } from './moves.ts';

interface MayHaveAddress {
  readonly run?: { readonly addr?: string | undefined } | undefined;
}

/** The address that a tree brings along: that of the program that `run` started. */
export const addressOf = (tasks: readonly MayHaveAddress[]): string | undefined =>
  tasks.find((task) => task.run?.addr !== undefined)?.run?.addr;

export class FloatingAddresses {
  private readonly node: LocalNode;
  private readonly local: LocalProcesses;
  private readonly moves: Moves;

  constructor(q: { node: LocalNode; local: LocalProcesses; moves: Moves }) {
    this.node = q.node;
    this.local = q.local;
    this.moves = q.moves;
  }

  private get port() {
    return this.node.deps.ports.addresses;
  }

  async claim(
    address: string,
  ): Promise<Reply<undefined, 'EADDRINUSE' | 'EADDRNOTAVAIL' | 'EIO' | 'EOPNOTSUPP'>> {
    return this.port?.claim(address) ?? fail('EOPNOTSUPP', 'this node has no floating addresses');
  }
  /** A program that had it has ended, or never ran. */
  async release(address: string): Promise<void> {
    const dropped = await this.port?.drop(address);
    if (dropped && !dropped.ok) this.node.deps.log.warn('address not removed', { ...dropped });
  }

  /** What the table says is so in the kernel too; what a move is about is the move's affair. */
  async settle(): Promise<void> {
    const { port } = this;
    if (!port) return;
    const owners = [...this.local.table.values()].filter((e) => e.run?.addr !== undefined);
    const moving = new Set([...this.moves.active.values()].flatMap((m) => m.addresses()));
    const wanted = new Map(owners.map((e) => [e.run?.addr ?? '', e.pid]));
    for (const address of port.list())
      if (!wanted.has(address) && !moving.has(address)) await this.release(address);
    for (const [address, pid] of wanted) {
      if (moving.has(address)) continue;
      const opened = await port.open(address, this.kin(pid));
      if (!opened.ok) this.node.deps.log.warn('address not opened', { ...opened });
    }
  }
  private kin(owner: number): number[] {
    return [...this.local.table.values()].filter((e) => e.owner === owner).map((e) => e.pid);
  }
}

/** The same steps for both sides of a move; nothing where the tree has no address. */
export function moveAddress(node: LocalNode, tasks: readonly MayHaveAddress[]) {
  const address = addressOf(tasks);
  const port = node.deps.ports.addresses;
  const done = async (): Promise<Reply<undefined, 'EIO'>> => ok();
  if (address === undefined || !port)
    return { address, quiet: done, hold: done, open: (_: readonly number[]) => done(), drop: done };
  return {
    address,
    quiet: () => port.quiet(address),
    hold: () => port.hold(address),
    open: (pids: readonly number[]) => port.open(address, pids),
    drop: () => port.drop(address),
  };
}
