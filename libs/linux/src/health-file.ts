// A file whose age tells that a process does its work: cheap to ask, where a request would start a program.
// A process that stands still lets it grow old; one that is not well takes it away.
import { rmSync, writeFileSync } from 'node:fs';

/** How often the file is made new. Whoever looks allows a few of these (infra/images/health). */
const touchMs = 2_000;

/** `path` absent: nobody looks. `isWell` is asked before each time. */
export function keepHealthFile(path: string | undefined, isWell = (): boolean => true): void {
  if (path === undefined) return;
  const touch = (): void => {
    try {
      if (isWell()) writeFileSync(path, '');
      else rmSync(path, { force: true });
    } catch {
      // Not well is what its age will say.
    }
  };
  touch();
  setInterval(touch, touchMs).unref();
}
