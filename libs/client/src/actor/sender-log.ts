// What an actor remembers of one sender: the number it takes next, and the answers that may be asked for
// again. It is part of the actor's state and moves with it, which is what makes an event count once
// wherever the actor is when it is repeated. Pure. [RIFL: exactly-once RPC by sequence and low water]

/** What became of an event. `pending`: in the mailbox. `none`: its step gave no reply. */
export type Taken =
  | { readonly kind: 'pending' }
  | { readonly kind: 'reply'; readonly value: unknown }
  | { readonly kind: 'none' };

export type SenderLogJson = readonly [
  next: number,
  lowWater: number,
  taken: readonly (readonly [seq: number, taken: Taken])[],
];

export class SenderLog {
  next: number;
  lowWater: number;
  private readonly taken: Map<number, Taken>;

  constructor(json: SenderLogJson) {
    [this.next, this.lowWater] = json;
    this.taken = new Map(json[2]);
  }

  /** Of a sender never heard of: what is below its low water was finished with somebody before. */
  static fresh(lowWater: number): SenderLog {
    return new SenderLog([lowWater, lowWater, []]);
  }

  /** The sender is done with everything below `mark`: gaps there are skipped, answers forgotten. */
  raise(mark: number): void {
    if (mark <= this.lowWater) return;
    this.lowWater = mark;
    this.next = Math.max(this.next, mark);
    for (const seq of this.taken.keys()) if (seq < mark) this.taken.delete(seq);
  }

  /** new: take it; early: a number before it is missing; forgotten: below the low water. */
  judge(seq: number): 'new' | 'early' | 'forgotten' | Taken {
    if (seq < this.lowWater) return 'forgotten';
    if (seq > this.next) return 'early';
    return seq === this.next ? 'new' : (this.taken.get(seq) ?? 'forgotten');
  }

  take(seq: number): void {
    this.next = seq + 1;
    this.taken.set(seq, { kind: 'pending' });
  }

  answer(seq: number, taken: Taken): void {
    // Below the low water nobody will ask.
    if (this.taken.has(seq)) this.taken.set(seq, taken);
  }

  /** Something of this sender waits in the mailbox. */
  get busy(): boolean {
    for (const t of this.taken.values()) if (t.kind === 'pending') return true;
    return false;
  }

  toJson(): SenderLogJson {
    return [this.next, this.lowWater, [...this.taken]];
  }
}
