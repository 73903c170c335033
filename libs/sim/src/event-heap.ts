// A binary heap of what will happen, by time and then by the order in which it was asked for.
export interface SimEvent {
  readonly atMs: number;
  readonly order: number;
  /** undefined: cancelled. */
  fn: (() => void) | undefined;
}

const before = (a: SimEvent, b: SimEvent): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

export class EventHeap {
  readonly #items: SimEvent[] = [];
  #order = 0;

  push(atMs: number, fn: () => void): SimEvent {
    const event: SimEvent = { atMs, order: this.#order++, fn };
    const items = this.#items;
    let i = items.length;
    items.push(event);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = items[up] as SimEvent;
      if (!before(event, parent)) break;
      items[i] = parent;
      i = up;
    }
    items[i] = event;
    return event;
  }

  /** The earliest that was not cancelled and is due by `untilMs`; it is out of the heap then. */
  pop(untilMs: number): SimEvent | undefined {
    for (;;) {
      const top = this.#items[0];
      if (!top || (top.fn !== undefined && top.atMs > untilMs)) return undefined;
      this.#removeTop();
      if (top.fn !== undefined) return top;
    }
  }

  #removeTop(): void {
    const items = this.#items;
    const last = items.pop() as SimEvent;
    const size = items.length;
    if (size === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && before(items[child + 1] as SimEvent, items[child] as SimEvent))
        child++;
      if (!before(items[child] as SimEvent, last)) break;
      items[i] = items[child] as SimEvent;
      i = child;
    }
    items[i] = last;
  }
}
