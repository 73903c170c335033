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
