// The bytes of a file in memory: chunks where something was written, nothing where not.

const chunkBytes = 2 ** 16;
const zeros = Buffer.alloc(chunkBytes);

export class Content {
  #chunks = new Map<number, Buffer>();
  size = 0;

  /** Units of 512 bytes. */
  get blocks(): number {
    let bytes = 0;
    for (const chunk of this.#chunks.values()) bytes += chunk.length;
    return Math.ceil(bytes / 512);
  }

  read(offset: number, size: number): Uint8Array[] {
    const end = Math.min(offset + size, this.size);
    const parts: Uint8Array[] = [];
    for (let at = offset; at < end; ) {
      const from = at % chunkBytes;
      const n = Math.min(chunkBytes - from, end - at);
      const chunk = this.#chunks.get((at - from) / chunkBytes);
      const there = chunk ? chunk.subarray(from, from + n) : zeros.subarray(0, 0);
      if (there.length > 0) parts.push(there);
      if (there.length < n) parts.push(zeros.subarray(0, n - there.length));
      at += n;
    }
    return parts;
  }

  write(offset: number, data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const from = at % chunkBytes;
      const n = Math.min(chunkBytes - from, data.length - done);
      this.#chunk((at - from) / chunkBytes, from + n).set(data.subarray(done, done + n), from);
      done += n;
    }
    this.size = Math.max(this.size, offset + data.length);
  }

  /** A chunk of at least that many bytes. */
  #chunk(index: number, bytes: number): Buffer {
    const had = this.#chunks.get(index);
    if (had && had.length >= bytes) return had;
    let length = 512;
    while (length < bytes) length *= 2;
    const chunk = Buffer.alloc(length);
    if (had) chunk.set(had);
    this.#chunks.set(index, chunk);
    return chunk;
  }

  truncate(size: number): void {
    if (size < this.size) this.punch(size, this.size - size);
    this.size = size;
  }

  /** Zeros; whole chunks are holes again. */
  punch(offset: number, length: number): void {
    const end = Math.min(offset + length, this.size);
    for (const [index, chunk] of this.#chunks) {
      const start = index * chunkBytes;
      if (start + chunk.length <= offset || start >= end) continue;
      if (start >= offset && start + chunk.length <= end) this.#chunks.delete(index);
      else chunk.fill(0, Math.max(0, offset - start), Math.min(chunk.length, end - start));
    }
  }

  /** Where the next data (or hole) begins; the end is a hole. undefined: past the end. */
  seek(offset: number, kind: 'data' | 'hole'): number | undefined {
    if (offset >= this.size) return undefined;
    for (let at = offset; at < this.size; at = (Math.floor(at / chunkBytes) + 1) * chunkBytes)
      if (this.#chunks.has(Math.floor(at / chunkBytes)) === (kind === 'data')) return at;
    return kind === 'hole' ? this.size : undefined;
  }
}
