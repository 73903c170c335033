// Lists that are longer than one message of ICS: a page of them at a time. [ICS: frameMax, 512 KiB]

/** The rest of a frame is for what the sums here leave out. */
const pageBytes = 400 * 1024;

/** What is added to one message, in order. */
export class Page {
  #left = pageBytes;
  #empty = true;

  /** Whether there is room for so much more; the first always has, and what comes after a refusal never. */
  takes(bytes: number): boolean {
    const is = this.#empty || bytes <= this.#left;
    this.#empty = false;
    this.#left = is ? this.#left - bytes : -1;
    return is;
  }
}

/** Of a resource's name in a message, with a few numbers beside it. */
export const keyBytes = (key: string): number => Buffer.byteLength(key) + 128;

/** As many of those after `after` as one message carries. */
export function pageOf<M extends { readonly key: string }, T>(
  all: readonly M[],
  after: string,
  q: { show: (m: M) => T; bytesOf: (one: T) => number },
): { resources: T[]; more: boolean } {
  const page = new Page();
  const resources: T[] = [];
  const its = all.filter(({ key }) => key > after).sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const m of its) {
    const one = q.show(m);
    if (!page.takes(q.bytesOf(one))) return { resources, more: true };
    resources.push(one);
  }
  return { resources, more: false };
}
