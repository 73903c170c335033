// Elements of an nftables map changed by netlink, past the nft command: which reads and checks text for a hundredth of a
// second and more, where the kernel takes a few milliseconds for thousands of elements. One batch is one transaction.
// In this process's network namespace; needs CAP_NET_ADMIN. [netlink(7); linux/netfilter/nf_tables.h, nfnetlink.h]
import { Netlink } from '@ssi/linux';
import type { PlaceChange } from '../place-moves.ts';

const nfProtoIpv4 = 2;
const subsystem = 10;
const [batchBegin, batchEnd] = [0x10, 0x11];
const [newElements, deleteElements] = [(subsystem << 8) | 12, (subsystem << 8) | 14];
const [request, ack, create] = [1, 4, 0x400];
const nested = 0x8000;
/** An attribute's length has 16 bits: 28 bytes each. */
const elementsMax = 2_000;

class Batch {
  #buffer = Buffer.alloc(1 << 16);
  #at = 0;

  message(type: number, flags: number, family: number, resource: number, fill = () => {}): void {
    const start = this.#take(20);
    fill();
    this.#buffer.writeUInt32LE(this.#at - start, start);
    this.#buffer.writeUInt16LE(type, start + 4);
    this.#buffer.writeUInt16LE(flags, start + 6);
    this.#buffer[start + 16] = family;
    this.#buffer.writeUInt16BE(resource, start + 18);
  }

  attribute(type: number, fill: () => void): void {
    const start = this.#take(4);
    fill();
    this.#buffer.writeUInt16LE(this.#at - start, start);
    this.#buffer.writeUInt16LE(type, start + 2);
    this.#take((4 - ((this.#at - start) % 4)) % 4);
  }

  text(text: string): void {
    const bytes = Buffer.from(`${text}\0`);
    const start = this.#take(bytes.length);
    bytes.copy(this.#buffer, start);
  }

  /** In the order of the machine, as marks are. */
  number(value: number): void {
    const start = this.#take(4);
    this.#buffer.writeUInt32LE(value, start);
  }

  bytes = (): Buffer => this.#buffer.subarray(0, this.#at);

  #take(bytes: number): number {
    const start = this.#at;
    this.#at += bytes;
    if (this.#at > this.#buffer.length) {
      const more = Buffer.alloc(2 * this.#at);
      this.#buffer.copy(more);
      this.#buffer = more;
    }
    return start;
  }
}

function elements(
  batch: Batch,
  q: {
    readonly type: number;
    readonly table: string;
    readonly map: string;
    readonly last: boolean;
  },
  list: readonly (readonly [key: number, value?: number])[],
): void {
  const value = (type: number, number: number): void =>
    batch.attribute(type | nested, () => batch.attribute(1, () => batch.number(number)));
  const flags = request | (q.last ? ack : 0) | (q.type === newElements ? create : 0);
  batch.message(q.type, flags, nfProtoIpv4, 0, () => {
    batch.attribute(1, () => batch.text(q.table));
    batch.attribute(2, () => batch.text(q.map));
    batch.attribute(3 | nested, () => {
      for (const [key, data] of list)
        batch.attribute(1 | nested, () => {
          value(1, key);
          if (data !== undefined) value(2, data);
        });
    });
  });
}

const pieces = <T>(list: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(list.length / elementsMax) }, (_, n) =>
    list.slice(n * elementsMax, (n + 1) * elementsMax),
  );

export function batchOf(table: string, changes: readonly PlaceChange[]): Buffer {
  const batch = new Batch();
  const parts = changes.flatMap(({ map, gone, come }) => [
    ...pieces(gone.map((place): [number] => [place])).map((list) => ({
      type: deleteElements,
      map,
      list,
    })),
    ...pieces(come).map((list) => ({ type: newElements, map, list })),
  ]);
  batch.message(batchBegin, request, 0, subsystem);
  for (const [n, { list, ...part }] of parts.entries())
    elements(batch, { ...part, table, last: n === parts.length - 1 }, list);
  batch.message(batchEnd, request, 0, subsystem);
  return batch.bytes();
}

/** 0, or the negative errno with which the kernel refused; then nothing has changed. */
export function changePlacesNow(table: string, changes: readonly PlaceChange[]): number {
  if (changes.every(({ gone, come }) => gone.length + come.length === 0)) return 0;
  const netlink = new Netlink('netfilter');
  try {
    return netlink.ask(batchOf(table, changes));
  } finally {
    netlink.close();
  }
}
