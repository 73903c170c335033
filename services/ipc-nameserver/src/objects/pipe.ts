// FIFO and pipe: 16 pages of bytes between readers and writers. A write of up to a page is whole or not at
// all; the last page takes more where all of it fits, so what is left of a page counts as used, as in the
// kernel. [pipe(7), fifo(7); linux: fs/pipe.c]
import { type IpcErrno, type IpcOp, ipcLimits } from '@ssi/contracts';
import { type Call, done, refused, type Settled, withdraw } from './call.ts';
import { type Ends, endKey, isOpen } from './end.ts';

const pageBytes = ipcLimits.pipeAtomic;

interface Page {
  /** Read up to here; what lies before is used up until the page is empty. */
  offset: number;
  end: number;
  readonly bytes: Uint8Array;
}
interface Opening {
  readonly id: number;
  readonly key: string;
  readonly wants: 'reader' | 'writer';
}
interface Reader {
  readonly id: number;
  readonly size: number;
}
interface Writer {
  readonly id: number;
  readonly bytes: Uint8Array;
  written: number;
}

export interface Pipe {
  readonly kind: 'fifo';
  readonly pages: Page[];
  readonly ends: Ends;
  /** An open that waits for the other side; its own end counts already. */
  readonly opening: Opening[];
  readonly readers: Reader[];
  readonly writers: Writer[];
}

export const newPipe = (): Pipe => ({
  ...{ kind: 'fifo', pages: [], ends: {}, opening: [], readers: [], writers: [] },
});

export const readersOf = (p: Pipe): number => Object.values(p.ends).filter((e) => e.read).length;
export const writersOf = (p: Pipe): number => Object.values(p.ends).filter((e) => e.write).length;
export const bytesIn = (p: Pipe): number =>
  p.pages.reduce((sum, page) => sum + page.end - page.offset, 0);

/** Puts in what there is room for; how many bytes. */
function fill(p: Pipe, bytes: Uint8Array, first: boolean): number {
  let at = 0;
  const rest = bytes.length % pageBytes;
  const last = p.pages.at(-1);
  // Only at the beginning of a write, and what is over full pages of it goes first.
  if (first && last && rest > 0 && last.end + rest <= pageBytes) {
    last.bytes.set(bytes.subarray(0, rest), last.end);
    last.end += rest;
    at = rest;
  }
  while (at < bytes.length && p.pages.length < ipcLimits.pipePages) {
    const piece = bytes.subarray(at, at + pageBytes);
    const page = new Uint8Array(pageBytes);
    page.set(piece);
    p.pages.push({ offset: 0, end: piece.length, bytes: page });
    at += piece.length;
  }
  return at;
}

function take(p: Pipe, size: number): Uint8Array {
  const out = new Uint8Array(Math.min(size, bytesIn(p)));
  let at = 0;
  while (at < out.length) {
    const page = p.pages[0];
    if (!page) break;
    const n = Math.min(out.length - at, page.end - page.offset);
    out.set(page.bytes.subarray(page.offset, page.offset + n), at);
    page.offset += n;
    at += n;
    if (page.offset === page.end) p.pages.shift();
  }
  return out;
}

/** Readers and writers that wait, for as long as one of them gets on. */
function flow(p: Pipe): Settled[] {
  const settled: Settled[] = [];
  for (let moved = true; moved; ) {
    moved = false;
    const reader = p.readers[0];
    if (reader && (p.pages.length > 0 || writersOf(p) === 0)) {
      p.readers.shift();
      settled.push(done(reader.id, { text: take(p, reader.size) }));
      moved = true;
    }
    const writer = p.writers[0];
    if (!writer) continue;
    if (readersOf(p) === 0) {
      p.writers.shift();
      settled.push(broken(writer.id, writer.written));
      moved = true;
      continue;
    }
    const n = fill(p, writer.bytes.subarray(writer.written), false);
    writer.written += n;
    if (n > 0) moved = true;
    if (writer.written < writer.bytes.length) continue;
    p.writers.shift();
    settled.push(done(writer.id, { n: writer.written }));
  }
  return settled;
}

/** What was written before counts; the next write hears of it. */
const broken = (id: number, written: number): Settled =>
  written > 0 ? done(id, { n: written }) : refused(id, 'EPIPE', 'nobody has it open for reading');

export function open(p: Pipe, call: Call, m: IpcOp<'open'>): Settled[] {
  const { id, owner } = call;
  const key = endKey(owner, m.handle);
  if (p.ends[key] || (!m.read && !m.write)) return [refused(id, 'EINVAL', 'that end is in use')];
  if (m.write && !m.read && m.nonblock && readersOf(p) === 0)
    return [refused(id, 'ENXIO', 'nobody has it open for reading')];
  const { read, write, nonblock = false } = m;
  p.ends[key] = { owner, read, write, nonblock };
  const settled: Settled[] = [];
  for (const o of [...p.opening]) {
    if (o.wants === 'reader' ? !read : !write) continue;
    p.opening.splice(p.opening.indexOf(o), 1);
    settled.push(done(o.id));
  }
  const alone = read ? !write && writersOf(p) === 0 : readersOf(p) === 0;
  if (!alone || nonblock) return [done(id), ...settled];
  p.opening.push({ id, key, wants: read ? 'writer' : 'reader' });
  return settled;
}

export function read(p: Pipe, call: Call, m: IpcOp<'read'>): Settled[] {
  const { id, owner } = call;
  const end = p.ends[endKey(owner, m.handle)];
  if (!end?.read) return [refused(id, 'EBADF', 'not open for reading')];
  if (m.size === 0) return [done(id, { text: new Uint8Array() })];
  if (p.pages.length > 0) return [done(id, { text: take(p, m.size) }), ...flow(p)];
  if (writersOf(p) === 0) return [done(id, { text: new Uint8Array() })];
  if (end.nonblock) return [refused(id, 'EAGAIN', 'it is empty')];
  p.readers.push({ id, size: m.size });
  return [];
}

export function write(p: Pipe, call: Call, m: IpcOp<'write'>): Settled[] {
  const { id, owner } = call;
  const end = p.ends[endKey(owner, m.handle)];
  if (!end?.write) return [refused(id, 'EBADF', 'not open for writing')];
  if (m.bytes.length === 0) return [done(id, { n: 0 })];
  if (readersOf(p) === 0) return [broken(id, 0)];
  // Behind writers that wait, so that what one wrote stays in one piece.
  const n = p.writers.length > 0 && !end.nonblock ? 0 : fill(p, m.bytes, true);
  if (n === m.bytes.length) return [done(id, { n }), ...flow(p)];
  if (end.nonblock)
    return n > 0 ? [done(id, { n }), ...flow(p)] : [refused(id, 'EAGAIN', 'it is full')];
  p.writers.push({ id, bytes: m.bytes, written: n });
  return flow(p);
}

/** The end is gone; who waits for its side hears of it when it was the last. */
export function closeEnd(p: Pipe, key: string): Settled[] {
  delete p.ends[key];
  const settled = flow(p);
  // Nobody has it open: what was written is gone. [fifo(7)]
  if (!isOpen(p.ends)) p.pages.length = 0;
  return settled;
}

/** A call that waits is given up: what it wrote counts. undefined: it does not wait here. */
export function withdrawn(p: Pipe, id: number, errno: IpcErrno): Settled | undefined {
  const opening = p.opening.find((o) => o.id === id);
  if (opening) delete p.ends[opening.key];
  if (withdraw(p.opening, id) || withdraw(p.readers, id)) return refused(id, errno);
  const writer = p.writers.find((w) => w.id === id);
  if (!writer) return undefined;
  withdraw(p.writers, id);
  return writer.written > 0 ? done(id, { n: writer.written }) : refused(id, errno);
}
