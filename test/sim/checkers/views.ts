// A view is the same on every node at a transid; no node goes back to an older one. What each node
// applies is announced to the other checkers, so that all judge by the same history.
import type { View } from '@ssi/contracts';
import type { SimCluster } from '../cluster.ts';
import { Violation } from '../world.ts';
import type { Checker } from './checker.ts';

export type ViewListener = (view: View, before: View | undefined, first: boolean) => void;

export class ViewsChecker implements Checker {
  readonly name = 'views';
  readonly #cluster: SimCluster;
  readonly #last = new Map<number, View>();
  readonly #byTransid = new Map<number, { text: string; node: number }>();
  readonly #listeners: ViewListener[] = [];
  /** The newest view that anyone applied. */
  newest: View | undefined;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  /** `first`: nobody applied this transid before. */
  onView(fn: ViewListener): void {
    this.#listeners.push(fn);
  }

  afterEach(): void {
    for (const node of this.#cluster.nodes) {
      const view = node.membership?.state.view;
      if (view && view !== this.#last.get(node.num)) this.#applied(node.num, view);
    }
  }

  #applied(node: number, view: View): void {
    const last = this.#last.get(node);
    this.#last.set(node, view);
    if (last && view.transid < last.transid)
      throw new Violation(
        this.name,
        `node ${node} went back from ${last.transid} to ${view.transid}`,
      );
    const text = JSON.stringify(view, sorted);
    const known = this.#byTransid.get(view.transid);
    if (known && known.text !== text)
      throw new Violation(
        this.name,
        `transid ${view.transid} is one view on node ${known.node}, another on ${node}:\n${known.text}\n${text}`,
      );
    if (!known) this.#byTransid.set(view.transid, { text, node });
    const before = this.newest;
    if (!before || view.transid > before.transid) this.newest = view;
    for (const listener of this.#listeners) listener(view, before, !known);
  }
}

/** Order of keys is nobody's business. */
const sorted = (_: string, value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    : value;
