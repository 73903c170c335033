// Images of moving actors: one file, in memory and on record. Those of native trees are where they always are.
import { actorImageMax, fail, ok } from '@ssi/contracts';
import type { ImageChunk, Images, MoveRecords } from '../ports.ts';

export const imageName = 'actor.img';

export class ActorImages implements Images {
  private readonly base: Images;
  private readonly records: MoveRecords;
  private readonly arriving = new Map<string, Uint8Array[]>();
  private readonly whole = new Map<string, Uint8Array>();

  constructor(base: Images, records: MoveRecords) {
    this.base = base;
    this.records = records;
  }

  create(moveId: string): ReturnType<Images['create']> {
    return this.base.create(moveId);
  }
  async write(moveId: string, chunk: ImageChunk): ReturnType<Images['write']> {
    if (chunk.name !== imageName) return this.base.write(moveId, chunk);
    const pieces = chunk.offset === 0 ? [] : (this.arriving.get(moveId) ?? []);
    const filled = pieces.reduce((sum, p) => sum + p.length, 0);
    if (filled !== chunk.offset || filled + chunk.data.length > actorImageMax)
      return fail('EINVAL', 'pieces of an image come in order');
    // The message's memory is its reader's.
    pieces.push(chunk.data.slice());
    this.arriving.set(moveId, pieces);
    if (!chunk.last) return ok();
    const image = Buffer.concat(pieces);
    this.arriving.delete(moveId);
    this.whole.set(moveId, image);
    return this.records.write(moveId, { image: image.toString('base64') });
  }
  /** undefined: not of an actor. */
  async read(moveId: string): Promise<Uint8Array | undefined> {
    const here = this.whole.get(moveId);
    if (here) return here;
    const stored = await this.records.list();
    if (!stored.ok) return undefined;
    const record = stored.value.find((r) => r.moveId === moveId)?.record as { image?: string };
    return record?.image === undefined ? undefined : Buffer.from(record.image, 'base64');
  }
  async remove(moveId: string): ReturnType<Images['remove']> {
    this.arriving.delete(moveId);
    this.whole.delete(moveId);
    const [native, own] = [await this.base.remove(moveId), await this.records.remove(moveId)];
    return native.ok ? own : native;
  }
  async list(): ReturnType<Images['list']> {
    const [native, stored] = [await this.base.list(), await this.records.list()];
    if (!native.ok || !stored.ok) return native;
    const own = stored.value.filter((r) => 'image' in (r.record as object)).map((r) => r.moveId);
    return ok([...new Set([...native.value, ...own])].sort());
  }
  freeBytes(): Promise<number> {
    return this.base.freeBytes();
  }
}
