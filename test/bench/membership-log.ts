// What a node's membership wrote down, with the wall clock of this machine: all nodes of a benchmark
// share it, so their lines compare to the millisecond and reading them costs the cluster nothing.
import { existsSync, readFileSync } from 'node:fs';

export interface LogLine {
  readonly atMs: number;
  readonly text: string;
  readonly num?: number;
  readonly to?: string;
  readonly transid?: number;
  readonly term?: number;
  readonly detail?: string;
}

export class MembershipLog {
  private at = 0;
  private readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Of a node that `ssi up` started. */
  static of(cluster: string, num: number): MembershipLog {
    return new MembershipLog(`/run/ssi/clusters/${cluster}/n${num}/membership.log`);
  }

  /** Lines since the last call. */
  read(): LogLine[] {
    const bytes = existsSync(this.path) ? readFileSync(this.path) : Buffer.alloc(0);
    if (bytes.length < this.at) this.at = 0;
    const end = bytes.lastIndexOf(10) + 1;
    const text = bytes.subarray(this.at, Math.max(end, this.at)).toString();
    this.at = Math.max(end, this.at);
    return text.split('\n').flatMap((line) => {
      try {
        const { time, ...rest } = JSON.parse(line) as { time: string; text: string };
        return [{ atMs: Date.parse(time), ...rest }];
      } catch {
        return []; // Not ours: a warning of the runtime, or a cut line.
      }
    });
  }
}
