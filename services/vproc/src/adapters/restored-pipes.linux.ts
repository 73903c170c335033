// Pipes that a descriptor has open both ways (bash: `exec 9<> <(:)`). criu restores such a descriptor as
// the reading end only (pipes.c asks for O_LARGEFILE, which is 0 on 64 bits), so the program would read an
// end of file for ever. A pipe that criu inherits is opened as the image says: here it is made and filled.
import { readFileSync, writeSync } from 'node:fs';
import { fail, ok, type Reply } from '@ssi/contracts';
import { closeFd, errnoName, makePipe, setPipeSize } from '@ssi/linux';
import { pipesBothWays, readPipeData } from './criu-image.ts';

export interface RestoredPipes {
  /** For criu, from `firstFd` on. */
  readonly fds: readonly number[];
  readonly args: readonly string[];
  close(): void;
}

/** `firstFd`: the number that the first of them will have in criu. */
export function openPipes(dir: string, firstFd: number): Reply<RestoredPipes> {
  const files = readOr(`${dir}/files.img`);
  const ids = files ? pipesBothWays(files) : [];
  const data = ids.length > 0 ? readOr(`${dir}/pipes-data.img`) : undefined;
  const waiting = data ? readPipeData(data) : new Map();
  const fds: number[] = [];
  const ends: number[] = [];
  const close = (): void => {
    for (const fd of ends) closeFd(fd);
  };
  for (const id of ids) {
    const made = makePipe();
    if (typeof made === 'number') {
      close();
      return fail(errnoName(made), 'no pipe');
    }
    ends.push(made.read, made.write);
    fds.push(made.read);
    const content = waiting.get(id);
    if (content?.sizeBytes) setPipeSize(made.write, content.sizeBytes);
    // It fitted into a pipe of that size.
    for (let done = 0; content && done < content.data.length; )
      done += writeSync(made.write, content.data, done);
  }
  const args = ids.flatMap((id, i) => ['--inherit-fd', `fd[${firstFd + i}]:pipe:[${id}]`]);
  return ok({ fds, args, close });
}

function readOr(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}
