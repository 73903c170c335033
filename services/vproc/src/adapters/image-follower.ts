// Hands out the files of an image folder while criu writes them. Memory pages (pages-*.img, nearly all of
// the bytes) are only ever appended, so they go at once; the rest goes when the dump has ended, for criu
// comes back to some of it.
import { closeSync, fstatSync, openSync, readdirSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import type { Clock } from '@ssi/ports';
import type { ImageChunk } from '../ports.ts';

const chunkBytes = 256 * 1024;
/** How long it looks away when nothing was new, ms. */
const lookAgainMs = 2;
/** criu's own; logs and what was sent ahead stay here. */
const imageFile = /^(?!ahead\.).*(?<!\.log)$/;
const pagesFile = /^pages-\d+\.img$/;

export async function* followImages(
  dir: string,
  clock: Clock,
  /** Resolves when nothing more is written; false: the dump failed. */
  ended: Promise<boolean>,
): AsyncGenerator<ImageChunk> {
  const offsets = new Map<string, number>();
  // One for all chunks: the images are on tmpfs, so a read is a copy, and 100 MB of buffers would have the
  // collector run again and again while the tree stands still.
  const buffer = Buffer.allocUnsafeSlow(chunkBytes);
  let over: boolean | undefined;
  const end = ended.then((well) => {
    over = well;
  });
  while (over === undefined) {
    let any = false;
    for (const name of names(dir).filter((file) => pagesFile.test(file))) {
      for (const chunk of readFrom(buffer, `${dir}/${name}`, offsets.get(name) ?? 0, false)) {
        offsets.set(name, chunk.offset + chunk.data.length);
        // A part of one: criu is at work just there, and is not to be run after byte by byte.
        any ||= chunk.data.length === chunkBytes;
        yield chunk;
        if (over !== undefined) break;
      }
    }
    if (!any && over === undefined)
      await Promise.race([end, new Promise<void>((done) => void clock.after(lookAgainMs, done))]);
  }
  if (!over) return;
  for (const name of names(dir).filter((file) => imageFile.test(file)))
    yield* readFrom(buffer, `${dir}/${name}`, offsets.get(name) ?? 0, true);
}

/** Bytes of all images in a folder. */
export function imageBytes(dir: string): number {
  return names(dir)
    .filter((name) => imageFile.test(name))
    .reduce((sum, name) => {
      const fd = openSync(`${dir}/${name}`, 'r');
      const { size } = fstatSync(fd);
      closeSync(fd);
      return sum + size;
    }, 0);
}

function names(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

/** From `from` to the present end; `complete`: that is the file's, and the last chunk says so. */
function* readFrom(
  buffer: Buffer,
  path: string,
  from: number,
  complete: boolean,
): Generator<ImageChunk> {
  const name = basename(path);
  const fd = openSync(path, 'r');
  try {
    for (let offset = from; ; ) {
      const bytes = readSync(fd, buffer, 0, buffer.length, offset);
      const last = complete && bytes < buffer.length;
      if (bytes > 0 || last) yield { name, offset, data: buffer.subarray(0, bytes), last };
      offset += bytes;
      if (bytes < buffer.length) return;
    }
  } finally {
    closeSync(fd);
  }
}
