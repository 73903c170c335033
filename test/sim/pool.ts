// Runs of the simulator on several threads. A job is plain data; results come as they are ready.
import { once } from 'node:events';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { type PlantName, plants } from './plants.ts';
import { type RunOptions, type RunResult, simulate } from './simulate.ts';

/** Says to this file that it is the worker's own. */
const mark = 'ssi sim worker';

export interface Job extends Omit<RunOptions, 'plant'> {
  readonly plant?: PlantName | undefined;
}

export function run({ plant, ...options }: Job): Promise<RunResult> {
  return simulate({ ...options, ...(plant && { plant: plants[plant] }) });
}

/** `next` gives jobs until undefined; at most `threads` at a time, all in this thread if 1. */
export async function runAll(
  threads: number,
  next: () => Job | undefined,
  onResult: (result: RunResult, job: Job) => void,
): Promise<void> {
  const feed = async (work: (job: Job) => Promise<RunResult>): Promise<void> => {
    for (let job = next(); job; job = next()) onResult(await work(job), job);
  };
  if (threads <= 1) return feed(run);
  await Promise.all(
    Array.from({ length: threads }, async () => {
      const worker = new Worker(new URL(import.meta.url), { workerData: mark });
      await feed(async (job) => {
        worker.postMessage(job);
        const [result] = await once(worker, 'message');
        return result as RunResult;
      });
      await worker.terminate();
    }),
  );
}

if (workerData === mark && parentPort) {
  const port = parentPort;
  const work = async (job: Job): Promise<void> => {
    const result = await run(job);
    // Nobody reads the transcript of a run that held.
    const read = result.failure !== undefined || job.trace;
    port.postMessage(read ? result : { ...result, transcript: [] });
  };
  port.on('message', (job: Job) => void work(job));
}
