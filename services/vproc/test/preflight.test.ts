// Reason codes found on a real node, each by a program that does the thing; and none for those that don't.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeFolder, removeFolder, TestNode, whyNoNodes } from './native/node.ts';

const reason = whyNoNodes();
/** Each says `ready` on standard error when it has what it wants, `no` where this machine lacks it. */
const programs: readonly (readonly [code: string, what: string, python: string])[] = [
  [
    'ETCPADDR',
    'a TCP connection whose other end stays',
    'import socket,os; l=socket.create_server(("127.0.0.1",0)); c=socket.create_connection(l.getsockname()); s=l.accept()[0]; p=os.fork(); p or (os.fork() and os._exit(0)); p and os.waitpid(p,0); (s if p else c).close(); p or stay()',
  ],
  [
    'EIOURING',
    'an io_uring',
    'import ctypes; fd=ctypes.CDLL(None).syscall(425,8,ctypes.create_string_buffer(120)); assert fd>=0',
  ],
  [
    'EUSERFAULTFD',
    'a userfaultfd',
    'import ctypes; fd=ctypes.CDLL(None).syscall(323,1); assert fd>=0',
  ],
  [
    'EPERFFD',
    'a performance counter',
    'import ctypes,struct; b=ctypes.create_string_buffer(struct.pack("IIQQQQQ",1,112,0,0,0,0,0x21)+bytes(64)); fd=ctypes.CDLL(None).syscall(298,b,0,-1,-1,0); assert fd>=0',
  ],
  [
    'ESYSVIPC',
    'System V shared memory',
    'import ctypes; c=ctypes.CDLL(None); c.shmat.restype=ctypes.c_void_p; i=c.shmget(0,4096,0o1600); a=c.shmat(i,None,0); c.shmctl(i,0,None); assert i>=0',
  ],
  [
    'ESYSVIPC',
    'a System V semaphore that it uses',
    'import ctypes,struct; c=ctypes.CDLL(None); i=c.semget(0,1,0o1600); assert i>=0 and c.semop(i,struct.pack("Hhh",0,1,0),1)==0',
  ],
  [
    'ESYSVIPC',
    'a System V message queue that it uses',
    'import ctypes; c=ctypes.CDLL(None); i=c.msgget(0,0o1600); assert i>=0 and c.msgsnd(i,ctypes.create_string_buffer(b"\\1"+bytes(15)),4,0)==0',
  ],
  [
    'EDEVICE',
    'a device',
    'import os; f=os.open("/dev/loop-control" if os.path.exists("/dev/loop-control") else "/dev/kmsg", os.O_RDONLY)',
  ],
  [
    'ETTY',
    'a foreign terminal',
    'import os; m,s=os.openpty(); p=os.fork(); os.close(m if p else s)',
  ],
  [
    'EUNIXPEER',
    'a unix socket whose peer stays',
    'import socket,os; a,b=socket.socketpair(); p=os.fork(); p or (os.fork() and os._exit(0)); p and os.waitpid(p,0); (b if p else a).close(); p or stay()',
  ],
  [
    'EEXTERNALFD',
    'a pipe whose other end stays',
    'import os; r,w=os.pipe(); p=os.fork(); p or (os.fork() and os._exit(0)); p and os.waitpid(p,0); os.close(w if p else r); p or stay()',
  ],
];

// Who stays is an orphan of the program's own: a child would belong to its tree. It says nothing: whether
// all is ready is for the program to say, which has waited until it is an orphan.
describe.skipIf(reason)(`preflight on a node${reason ? ` (${reason})` : ''}`, () => {
  let dir: string;
  let node: TestNode;
  beforeAll(async () => {
    dir = makeFolder();
    node = await TestNode.start(dir, 1);
  });
  afterAll(async () => {
    await node.stop();
    removeFolder(dir);
  });

  async function start(python: string): Promise<{ pid: number; able: boolean }> {
    const script = `import sys,time\ndef stay(): time.sleep(1000)\ntry:\n exec(sys.argv[1])\n sys.stderr.write("ready\\n")\nexcept Exception:\n sys.stderr.write("no\\n")\nsys.stderr.flush()\ntime.sleep(1000)`;
    const { pid } = await node.ask('run', { argv: ['/usr/bin/python3', '-c', script, python] });
    for (const end = performance.now() + 10_000; ; ) {
      const { text } = await node.ask('read', { pid, name: 'err', offset: 0, max: 100 });
      if (text.includes('\n')) return { pid, able: text.startsWith('ready') };
      if (performance.now() > end) throw new Error('the program did not start');
      await new Promise((done) => setTimeout(done, 10));
    }
  }
  const codesOf = async (pid: number): Promise<string[]> =>
    (await node.ask('inspect', { pids: [pid], owner: pid })).reasons.map(
      (each: { code: string }) => each.code,
    );

  test('a plain program with threads, files, listeners and UDP can move', async () => {
    const { pid, able } = await start(
      'import socket,tempfile,threading,os; l=socket.create_server(("127.0.0.1",0)); u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); f=tempfile.TemporaryFile(); threading.Thread(target=lambda: time.sleep(999),daemon=True).start(); r,w=os.pipe(); m=os.memfd_create("x")',
    );
    expect(able).toBe(true);
    const found = await node.ask('inspect', { pids: [pid], owner: pid });
    expect(found.reasons).toEqual([]);
    expect(found.bytesEstimate).toBeGreaterThan(1_000_000);
    const libc = found.files.find((file: { path: string }) => /libc\.so|libc-/.test(file.path));
    expect(libc?.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(await node.ask('checkFiles', { files: found.files })).toEqual([]);
    await node.ask('signal', { pid, signal: 9 });
  });

  test('one that opens now this and now that under one number is seen as either', async () => {
    const { pid, able } = await start(
      'import os,threading; f=os.open(sys.executable,0); s=os.dup(1)\ndef flip():\n while 1: os.dup2(f,1); os.dup2(s,1)\nthreading.Thread(target=flip,daemon=True).start()',
    );
    expect(able).toBe(true);
    for (let i = 0; i < 100; i++) expect(await codesOf(pid)).toEqual([]);
    await node.ask('signal', { pid, signal: 9 });
  });

  test.each(programs)('%s: %s', async (code, _what, python) => {
    const { pid, able } = await start(python);
    // A machine without the feature cannot have it in the way: then there must be no reason either.
    const codes = await codesOf(pid);
    if (able) expect(codes).toContain(code);
    else expect(codes).not.toContain(code);
    await node.ask('signal', { pid, signal: 9 });
  });

  test('EPTRACE: a traced process', async () => {
    const { pid } = await start('pass');
    const tracer = await start(
      `import ctypes; c=ctypes.CDLL(None); assert c.ptrace(0x4206,${pid},None,None)==0`,
    );
    expect(tracer.able).toBe(true);
    expect(await codesOf(pid)).toContain('EPTRACE');
    await node.ask('signal', { pid: tracer.pid, signal: 9 });
    await node.ask('signal', { pid, signal: 9 });
  });

  test('ESYSVIPC: an IPC namespace of its own moves, unless somebody in it stays', async () => {
    const made =
      'import os,ctypes; c=ctypes.CDLL(None); assert c.unshare(0x08000000)==0; c.shmat.restype=ctypes.c_void_p; assert c.shmat(c.shmget(1,4096,0o1600),None,0)>0';
    const alone = await start(made);
    expect(alone.able).toBe(true);
    expect(await codesOf(alone.pid)).toEqual([]);
    const shared = await start(
      `${made}; p=os.fork(); p or (os.fork() and os._exit(0)); p and os.waitpid(p,0); p or stay()`,
    );
    expect(await codesOf(shared.pid)).toContain('ESYSVIPC');
    for (const { pid } of [alone, shared]) await node.ask('signal', { pid, signal: 9 });
  });

  test('EUSERNS: a user namespace of its own', async () => {
    const { pid, able } = await start(
      'import ctypes; assert ctypes.CDLL(None).unshare(0x10000000)==0',
    );
    if (able) expect(await codesOf(pid)).toContain('EUSERNS');
    await node.ask('signal', { pid, signal: 9 });
  });

  test('EPOSIXMQ: a message queue of the kernel', async () => {
    const { pid, able } = await start(
      'import ctypes; q=ctypes.CDLL(None).mq_open(b"/ssi-test",0o102,0o600,None); assert q>=0',
    );
    expect(able).toBe(true);
    expect(await codesOf(pid)).toContain('EPOSIXMQ');
    await node.ask('signal', { pid, signal: 9 });
  });

  test('ENOFILE: missing, another size, other contents', async () => {
    const files = [
      { path: '/no/such/file', sizeBytes: -1 },
      { path: '/bin/sh', sizeBytes: 1 },
      { path: '/bin/sh', sizeBytes: -1, digest: '0'.repeat(64) },
    ];
    const reasons = await node.ask('checkFiles', { files });
    expect(reasons.map((each: { code: string }) => each.code)).toEqual(Array(3).fill('ENOFILE'));
  });

  test('EPIDBUSY: pids, tids, groups in use, but not by a placeholder', async () => {
    const { pid } = await start(
      'import threading; threading.Thread(target=lambda: time.sleep(999),daemon=True).start()',
    );
    const [task] = (await node.ask('scan')).filter((each: { pid: number }) => each.pid === pid);
    await node.ask('hold', { pid: 80_000 });
    const numbers = [pid, task.tids[0], 80_000, 90_000];
    const busy = await node.ask('checkNumbers', { numbers, held: [80_000] });
    expect(busy.map((each: { pid: number }) => each.pid)).toEqual([pid, task.tids[0]]);
    await node.ask('signal', { pid, signal: 9 });
  });
});
