// sha256 of files, remembered by device, inode, size and times: a library is read once, not at each move.
import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';

const rememberedMax = 4096;

export class FileDigests {
  readonly #known = new Map<string, string>();

  /** Hexadecimal; undefined: cannot be read. */
  async of(path: string): Promise<string | undefined> {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat?.isFile()) return undefined;
    const key = `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}:${stat.ctimeMs}`;
    const known = this.#known.get(key);
    if (known) return known;
    const hash = createHash('sha256');
    try {
      await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash);
    } catch {
      return undefined;
    }
    const digest = hash.digest('hex');
    if (this.#known.size >= rememberedMax) this.#known.clear();
    this.#known.set(key, digest);
    return digest;
  }
}
