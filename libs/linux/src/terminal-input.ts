// What waits in a terminal's input and has not been read: taken out, so that it can be given again elsewhere.
// For a program that stands still; it does not notice. [termios(3), ioctl_tty(2)]
import { closeSync, constants, openSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { errnoOf } from './errno-name.ts';

const library = koffi.load(null);
const tcgetattr = library.func('int tcgetattr(int fd, _Out_ uint8_t *termios)');
const tcsetattr = library.func('int tcsetattr(int fd, int when, uint8_t *termios)');

/** struct termios is smaller; its c_lflag is the fourth word. [bits/termios.h] */
const termiosBytes = 128;
const lflagAt = 12;
const icanon = 2;
const now = 0;
/** The line discipline and its buffer hold 12 KiB. */
const takenMax = 64 * 1024;

/** Empty where there is none, or no such terminal. A line that is not complete counts too. */
export function takeTerminalInput(slavePath: string): Buffer {
  const { O_RDWR, O_NONBLOCK, O_NOCTTY } = constants;
  let fd: number;
  try {
    fd = openSync(slavePath, O_RDWR | O_NONBLOCK | O_NOCTTY);
  } catch {
    return Buffer.alloc(0);
  }
  const before = Buffer.alloc(termiosBytes);
  const known = tcgetattr(fd, before) === 0;
  try {
    if (known) {
      const raw = Buffer.from(before);
      raw.writeUInt32LE(raw.readUInt32LE(lflagAt) & ~icanon, lflagAt);
      tcsetattr(fd, now, raw);
    }
    return readAll(fd);
  } finally {
    if (known) tcsetattr(fd, now, before);
    closeSync(fd);
  }
}

/** A read that finds nothing has seen to it that nothing is on its way either. [n_tty.c: n_tty_read] */
function readAll(fd: number): Buffer {
  const pieces: Buffer[] = [];
  const buffer = Buffer.alloc(4096);
  for (let total = 0; total < takenMax; ) {
    let n: number;
    try {
      n = readSync(fd, buffer, 0, buffer.length, null);
    } catch (error) {
      if (errnoOf(error) === 'EAGAIN') break;
      throw error;
    }
    if (n === 0) break;
    pieces.push(Buffer.from(buffer.subarray(0, n)));
    total += n;
  }
  return Buffer.concat(pieces);
}
