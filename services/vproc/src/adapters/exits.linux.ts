// Follows the file in which the guard writes every exit: <nodeDir>/exits, and exits.1 where it was turned
// over. A position is `<inode>:<offset>`, so a restarted follower finds its place in either file.
import { closeSync, fstatSync, openSync, readSync, statSync, watch } from 'node:fs';
import { constants } from 'node:os';
import type { ExitStatus } from '@ssi/contracts';
import type { Clock, Timer } from '@ssi/ports';
import type { ExitRecord, Subscription } from '../ports.ts';

/** inotify may be out of instances: then this is how late an exit is seen, ms. */
const pollMs = 50;
const chunkBytes = 256 * 1024;

const signalNames = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number as number, name]),
);
/** As `kill -l` spells it. Real-time signals count from SIGRTMIN (34). */
export const signalName = (number: number): string =>
  signalNames.get(number) ?? (number >= 34 ? `SIGRTMIN+${number - 34}` : `SIG${number}`);

export function followExits(
  options: { readonly nodeDir: string; readonly clock: Clock },
  from: string | undefined,
  onExits: (exits: readonly ExitRecord[], position: string) => void,
): Subscription {
  const path = `${options.nodeDir}/exits`;
  let stopped = false;
  let timer: Timer | undefined;
  let fd = -1;
  let inode = 0;
  let offset = 0;

  const start = (): void => {
    const [fromInode = 0, fromOffset = 0] = (from ?? '').split(':').map(Number);
    const found = [`${path}.1`, path].flatMap((name) => {
      const stat = statSync(name, { throwIfNoEntry: false });
      return stat ? [{ name, inode: stat.ino }] : [];
    });
    // Not found: it was turned over twice meanwhile; then from the oldest that is left.
    const place = found.find((file) => file.inode === fromInode) ?? found[0];
    if (!place) return;
    open(place.name);
    offset = place.inode === fromInode ? fromOffset : 0;
  };
  const open = (name: string): void => {
    if (fd >= 0) closeSync(fd);
    fd = openSync(name, 'r');
    inode = fstatSync(fd).ino;
    offset = 0;
  };
  const read = (): void => {
    const buffer = Buffer.allocUnsafe(chunkBytes);
    for (;;) {
      if (fd < 0) start();
      if (fd < 0) return;
      const count = readSync(fd, buffer, 0, chunkBytes, offset);
      const end = buffer.subarray(0, count).lastIndexOf(10) + 1;
      if (end > 0) {
        offset += end;
        onExits(
          buffer
            .toString('latin1', 0, end - 1)
            .split('\n')
            .map(parseExit),
          `${inode}:${offset}`,
        );
        if (stopped) return;
        continue;
      }
      // At the end: of the present file, or of one that was turned over and is complete.
      const present = statSync(path, { throwIfNoEntry: false });
      if (!present || present.ino === inode) return;
      if (fstatSync(fd).size === offset) open(path);
    }
  };
  const tick = (): void => {
    if (stopped) return;
    read();
    if (!stopped) timer = options.clock.after(pollMs, tick);
  };
  let watcher: { close(): void } | undefined;
  try {
    watcher = watch(options.nodeDir, { persistent: false }, (_, name) => {
      if (!stopped && name === 'exits') read();
    });
  } catch {
    // the timer alone, then
  }
  timer = options.clock.after(0, tick);
  return {
    stop: () => {
      stopped = true;
      timer?.cancel();
      watcher?.close();
      if (fd >= 0) closeSync(fd);
      fd = -1;
    },
  };
}

function parseExit(line: string): ExitRecord {
  const [pid = 0, startTicks = 0, code = 0, signal = 0, userUs = 0, systemUs = 0, maxRssKb = 0] =
    line.split(' ').map(Number);
  const status: ExitStatus = {
    pid,
    code: signal === 0 ? code : null,
    signal: signal === 0 ? null : signalName(signal),
    rusage: { userMs: userUs / 1e3, systemMs: systemUs / 1e3, maxRssBytes: maxRssKb * 1024 },
  };
  return { pid, startTicks, status };
}
