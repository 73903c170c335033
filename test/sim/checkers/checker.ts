// What a checker is: it looks at the world after each event and at the end, apart from any scenario, and
// throws a Violation where an invariant does not hold.
export interface Checker {
  readonly name: string;
  /** After each event of the world: must be cheap. */
  afterEach?(): void;
  /** After each event that changed what runs on which machine. */
  afterChange?(): void;
  /** When everything has been healed and had time to settle. */
  atEnd?(): void;
}
