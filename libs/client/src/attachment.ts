// What an attached client sees and can do: the events of a process's output, and writing to its input.
import type { AttachOutputName, ExitStatus, Failure, Reply } from '@ssi/contracts';

export type AttachEvent =
  | {
      readonly type: 'data';
      readonly stream: AttachOutputName;
      readonly offset: number;
      readonly bytes: Uint8Array;
    }
  /** Bytes that the log no longer had, before the next `data` of the stream. */
  | { readonly type: 'gap'; readonly stream: AttachOutputName; readonly bytes: number }
  | { readonly type: 'eof'; readonly stream: AttachOutputName }
  /** Attached (again) on that node. */
  | { readonly type: 'attached'; readonly node: number; readonly tty: boolean }
  | { readonly type: 'exit'; readonly status: ExitStatus }
  /** Last: it could not go on. */
  | { readonly type: 'failed'; readonly failure: Failure };

export interface AttachOptions {
  /** Also write to it. One writer at a time: EBUSY for the next. */
  readonly input?: boolean;
  /** `start`: all that the log still has; `end`: from now on. Default `start`. */
  readonly from?: 'start' | 'end';
  /** Ends at the process's exit (true, the default) or at what was written when it attached. */
  readonly follow?: boolean;
}

export interface Attachment {
  /** Once; ends after `exit` or `failed`, or when closed. Not reading is back-pressure on the process. */
  events(): AsyncGenerator<AttachEvent, void, void>;
  /** Resolves when there is room for more. EPIPE: it ended or this is closed. */
  write(bytes: Uint8Array): Promise<Reply<undefined, 'EPIPE'>>;
  /** Standard input ends here. Resolves when every byte is in the node's log. */
  endInput(): Promise<Reply<undefined, 'EPIPE'>>;
  close(): void;
}
