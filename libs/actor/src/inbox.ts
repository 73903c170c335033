// The inbox: events wait here while a step runs. Bounded for events from outside; timer events pass
// the bound (there are never more of them than armed timers) so that no deadline is lost.
export class Inbox<T> {
  private items: T[] = [];
  private head = 0;
  private readonly max: number;

  constructor(max: number) {
    this.max = max;
  }

  get size(): number {
    return this.items.length - this.head;
  }

  /** False when full: the event was not taken. */
  offer(item: T): boolean {
    if (this.size >= this.max) return false;
    this.items.push(item);
    return true;
  }

  /** Takes the event whatever the bound. */
  push(item: T): void {
    this.items.push(item);
  }

  take(): T | undefined {
    if (this.head === this.items.length) return undefined;
    const item = this.items[this.head++];
    if (this.head === this.items.length) {
      this.items = [];
      this.head = 0;
    }
    return item;
  }

  clear(): void {
    this.items = [];
    this.head = 0;
  }
}
