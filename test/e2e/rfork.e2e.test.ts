// rfork(3ssi) on a real cluster: unmodified Linux under them, programs fork a child onto another node by one
// call of libssi, from C and from Python. The child has the parent's memory and its own pid; the parent waits.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { connect, type Ssi } from '@ssi/client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { value } from '../harness/busy.ts';
import { canRunNative, startCluster, type TestCluster } from '../harness/cluster.ts';
import { waitUntil } from '../harness/wait-until.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const native = `${root}.tools/native`;
const env = { PATH: '/usr/bin:/bin', LD_LIBRARY_PATH: native, PYTHONUNBUFFERED: '1' };

/** A list built before the fork; the child sums it up elsewhere, waits for a signal, and exits with 42. */
const python = `
import ctypes, os, signal, sys
ssi = ctypes.PyDLL('libssi.so', use_errno=True)
ssi.ssi_detail.restype = ctypes.c_char_p
numbers = list(range(100000))
pid = ssi.rfork(int(sys.argv[1]))
if pid < 0:
    print('refused', ctypes.get_errno(), ssi.ssi_detail().decode())
    sys.exit(1)
if pid == 0:
    ctypes.pythonapi.PyOS_AfterFork_Child()
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(42))
    print('child', os.getpid(), 'node', ssi.clusternode_num(), 'sum', sum(numbers))
    while True: signal.pause()
print('parent', os.getpid(), 'node', ssi.clusternode_num(), 'child', pid)
sys.stdin.readline()
print('waited', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

describe.skipIf(!canRunNative)('end to end: rfork', () => {
  let cluster: TestCluster;
  let ssi: Ssi;
  const dir = mkdtempSync(`${tmpdir()}/ssi-rfork-`);
  beforeAll(async () => {
    cluster = await startCluster();
    ssi = value(await connect({ cluster: cluster.name }));
  }, 60_000);
  afterAll(async () => {
    await ssi?.close();
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  /** What a program said so far, and its end. */
  function outputOf(pid: number) {
    const attachment = ssi.attach(pid, { input: true });
    let output = '';
    const ended = (async () => {
      for await (const event of attachment.events()) {
        if (event.type === 'data') output += Buffer.from(event.bytes).toString();
        if (event.type === 'exit') return event.status;
      }
      throw new Error('the streams ended without a status');
    })();
    ended.catch(() => {});
    const says = (form: RegExp) =>
      waitUntil(
        `${form}`,
        () => form.exec(output) ?? undefined,
        20_000,
        () => JSON.stringify(output),
      );
    return { attachment, ended, says, output: () => output };
  }
  const start = async (argv: string[]) => {
    const { pid } = value(await ssi.run({ argv, env, cwd: '/', node: 1 }));
    return { pid, ...outputOf(pid) };
  };
  const nodeOf = async (pid: number) => value(await ssi.where(pid)).node;

  test('Python: the child has its memory and a pid of node 1, and runs on node 2; wait(2) gives its end, also after vproc was killed', {
    timeout: 90_000,
  }, async () => {
    const parent = await start(['/usr/bin/python3', '-c', python, '2']);
    const child = Number((await parent.says(/parent \d+ node 1 child (\d+)\n/))[1]);
    expect(Math.floor(child / 65_536)).toBe(1);
    expect(await nodeOf(child)).toBe(2);
    const there = outputOf(child);
    const said = await there.says(/child (\d+) node (\d+) sum (\d+)\n/);
    expect(said.slice(1).map(Number)).toEqual([child, 2, 4_999_950_000]);
    expect(value(await ssi.migrate(child, 3))).toMatchObject({ from: 2, to: 3 });
    process.kill(cluster.servicePid(1, 'vproc'), 'SIGKILL');
    value(await parent.attachment.write(Buffer.from('\n')));
    await waitUntil('the signal', async () => (await ssi.kill(child, 10)).ok, 20_000);
    await parent.says(/waited 42\n/);
    expect(await parent.ended).toMatchObject({ code: 0 });
  });

  test('C: children on every node, its own too; each status comes back', {
    timeout: 90_000,
  }, async () => {
    const source = `
      #include <errno.h>
      #include <ssi.h>
      #include <stdio.h>
      #include <string.h>
      #include <sys/wait.h>
      #include <unistd.h>
      int main(void) {
        char text[] = "memory of the parent";
        for (unsigned node = 1; node <= 3; node++)
          for (int i = 0; i < 2; i++) {
            int status;
            pid_t pid = rfork(node);
            if (pid < 0) return printf("rfork: %s: %s\\n", strerror(errno), ssi_detail()), 1;
            if (pid == 0) return strcmp(text, "memory of the parent") ? 99 : (int)clusternode_num() * 10 + i;
            if (waitpid(pid, &status, 0) == pid) printf("%d %u %d\\n", WIFEXITED(status), node, WEXITSTATUS(status));
          }
        int ends[2];
        if (pipe(ends) != 0) return 1;
        pid_t tied = rfork(2);
        printf("%d %s %s\\n", tied, strerror(errno), ssi_detail());
        close(ends[0]), close(ends[1]);
        pid_t nowhere = rfork(9);
        printf("%d %s\\n", nowhere, strerror(errno));
        return 0;
      }`;
    writeFileSync(`${dir}/children.c`, source);
    const flags = ['-Wall', '-Werror', '-I', `${root}infra/native`, '-L', native];
    execFileSync('gcc', [...flags, '-o', `${dir}/children`, `${dir}/children.c`, '-lssi']);
    const parent = await start([`${dir}/children`]);
    expect(await parent.ended).toMatchObject({ code: 0 });
    const lines = parent.output().split('\n');
    expect(lines.slice(0, 6)).toEqual(['1 1 10', '1 1 11', '1 2 20', '1 2 21', '1 3 30', '1 3 31']);
    expect(lines[6]).toMatch(/^-1 Operation not supported EOPNOTSUPP: EEXTERNALFD/);
    expect(lines[7]).toBe('-1 Invalid argument');
  });
});
