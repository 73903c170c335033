// Which lives of lock managers are over. A life is one number that grows with every start at its node, so that
// the newest word is always known from an older one, however late that comes. [contract: life]

/** Starts of the service within one boot of its node, at most. */
export const startsMax = 2 ** 20;

export interface NodeLife {
  readonly node: number;
  readonly life: number;
}

export class Lives {
  /** Lives below this are over. A multiple of `startsMax`: none runs. */
  readonly #floors = new Map<number, number>();
  readonly #gone: (node: number) => void;

  /** `gone`: lives of that node that were known are over. */
  constructor(gone: (node: number) => void) {
    this.#gone = gone;
  }

  /** False: that life is over. */
  hear(node: number, life: number): boolean {
    if (life < (this.#floors.get(node) ?? 0)) return false;
    this.#raise(node, life);
    return true;
  }

  /** The node's boot is over, and fenced. */
  nodeOver(node: number, bootCount: number): void {
    this.#raise(node, (bootCount + 1) * startsMax);
  }

  #raise(node: number, life: number): void {
    if (life <= (this.#floors.get(node) ?? 0)) return;
    this.#floors.set(node, life);
    this.#gone(node);
  }

  isOver(node: number, life: number): boolean {
    return life < (this.#floors.get(node) ?? 0);
  }

  /** The life that runs there, as far as is known. */
  alive(node: number): number | undefined {
    const life = this.#floors.get(node) ?? 0;
    return life % startsMax === 0 ? undefined : life;
  }

  all(): NodeLife[] {
    return [...this.#floors].map(([node, life]) => ({ node, life }));
  }

  merge(lives: readonly NodeLife[]): void {
    for (const { node, life } of lives) this.#raise(node, life);
  }

  /** Whether something is known here that `lives` does not have. */
  knowsMoreThan(lives: readonly NodeLife[]): boolean {
    const theirs = new Map(lives.map(({ node, life }) => [node, life]));
    return [...this.#floors].some(([node, life]) => life > (theirs.get(node) ?? 0));
  }
}
