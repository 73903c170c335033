// Hands out the files of an image folder while criu writes them. Memory pages (pages-*.img, nearly all of
// the bytes) are only ever appended, so they go at once; the rest goes when the dump has ended, for criu
// comes back to some of it.
import { closeSync, fstatSync, openSync, readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Clock } from '@ssi/ports';
import type { ImageChunk } from '../ports.ts';

const chunkBytes = 256 * 1024;
/** How long it looks away when nothing was new, ms. */
const lookAgainMs = 2;
const pagesFile = /^pages-\d+\.img$/;

export async function* followImages(
  dir: string,
  clock: Clock,
  /** Resolves when nothing more is written; false: the dump failed. */
  ended: Promise<boolean>,
): AsyncGenerator<ImageChunk> {
  const offsets = new Map<string, number>();
  let over: boolean | undefined;
  const end = ended.then((well) => {
    over = well;
  });
  while (over === undefined) {
    let any = false;
    for (const name of names(dir).filter((file) => pagesFile.test(file))) {
      for await (const chunk of readFrom(dir, name, offsets.get(name) ?? 0, false)) {
        offsets.set(name, chunk.offset + chunk.data.length);
        any = true;
        yield chunk;
        if (over !== undefined) break;
      }
    }
    if (!any && over === undefined)
      await Promise.race([end, new Promise<void>((done) => void clock.after(lookAgainMs, done))]);
  }
  if (!over) return;
  for (const name of names(dir).filter((file) => !file.endsWith('.log')))
    yield* readFrom(dir, name, offsets.get(name) ?? 0, true);
}

/** Bytes of all images in a folder. */
export function imageBytes(dir: string): number {
  return names(dir)
    .filter((name) => !name.endsWith('.log'))
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
async function* readFrom(
  dir: string,
  name: string,
  from: number,
  complete: boolean,
): AsyncGenerator<ImageChunk> {
  const file = await open(`${dir}/${name}`, 'r');
  try {
    for (let offset = from; ; ) {
      const buffer = Buffer.allocUnsafe(chunkBytes);
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, offset);
      const last = complete && bytesRead < chunkBytes;
      if (bytesRead > 0 || last) yield { name, offset, data: buffer.subarray(0, bytesRead), last };
      offset += bytesRead;
      if (bytesRead < chunkBytes) return;
    }
  } finally {
    await file.close();
  }
}
