# posix-calls.py FOLDER: the calls that Node has no function for, each with what the manual page promises.
import ctypes, errno, fcntl, os, signal, struct, sys

os.chdir(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)


def raises(number, call, *args):
    try:
        call(*args)
    except OSError as error:
        assert error.errno == number, (call, error)
    else:
        raise AssertionError(f"{call}{args}: no {errno.errorcode[number]}")


# extended attributes
open("x", "wb").close()
os.setxattr("x", "user.a", b"one")
raises(errno.EEXIST, os.setxattr, "x", "user.a", b"two", os.XATTR_CREATE)
raises(errno.ENODATA, os.setxattr, "x", "user.b", b"two", os.XATTR_REPLACE)
assert os.getxattr("x", "user.a") == b"one"
assert os.listxattr("x") == ["user.a"]
os.removexattr("x", "user.a")
raises(errno.ENODATA, os.getxattr, "x", "user.a")

# an unnamed file that gets a name
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
os.write(fd, b"unnamed")
assert os.fstat(fd).st_nlink == 0
assert libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, b"named", 0x400) == 0
os.close(fd)
assert open("named", "rb").read() == b"unnamed"

# holes, allocation, copies
fd = os.open("holes", os.O_CREAT | os.O_RDWR)
os.pwrite(fd, b"a", 0)
os.pwrite(fd, b"b", 1 << 20)
assert os.lseek(fd, 1, os.SEEK_HOLE) < 1 << 20
assert os.lseek(fd, 1 << 19, os.SEEK_DATA) == 1 << 20
raises(errno.ENXIO, os.lseek, fd, 1 << 21, os.SEEK_DATA)
os.posix_fallocate(fd, 0, 1 << 21)
assert os.fstat(fd).st_size == 1 << 21
assert libc.fallocate(fd, 3, ctypes.c_long(1 << 20), ctypes.c_long(1 << 20)) == 0
assert os.pread(fd, 1, 1 << 20) == b"\0"
copy = os.open("copy", os.O_CREAT | os.O_RDWR)
assert os.copy_file_range(fd, copy, 95, 0, 5) == 95
assert os.pread(copy, 100, 0) == b"\0" * 5 + b"a" + b"\0" * 94

# append goes to the end, wherever the position is
fd = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
other = os.open("log", os.O_WRONLY)
os.write(fd, b"1111")
os.pwrite(other, b"22222222", 0)
os.write(fd, b"3")
assert open("log", "rb").read() == b"222222223"

# renameat2
os.rename("log", "renamed")
os.mkdir("dir")
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


def rename2(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


raises(errno.EEXIST, rename2, "renamed", "x", RENAME_NOREPLACE)
rename2("renamed", "dir", RENAME_EXCHANGE)
assert os.path.isdir("renamed") and os.path.getsize("dir") == 9
raises(errno.EINVAL, os.rename, "renamed", "renamed/below")

# locks: another process is in the way; a wait ends with a signal, or with the lock
lock = os.open("lock", os.O_CREAT | os.O_RDWR)
fcntl.lockf(lock, fcntl.LOCK_EX, 10, 5)
done, tell = os.pipe()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InterruptedError()))
    mine = os.open("lock", os.O_RDWR)
    fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0)
    raises(errno.EAGAIN, fcntl.lockf, mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 14)
    asked = fcntl.fcntl(mine, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
    kind, whence, start, length, pid = struct.unpack("hhqqi4x", asked)
    assert (kind, start, length, pid) == (fcntl.F_WRLCK, 5, 10, os.getppid()), (kind, start, length, pid)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        fcntl.lockf(mine, fcntl.LOCK_EX, 0, 0)
        os._exit(1)
    except InterruptedError:
        pass
    os.write(tell, b"interrupted")
    fcntl.lockf(mine, fcntl.LOCK_EX, 0, 0)
    os._exit(0)
os.close(tell)
assert os.read(done, 20) == b"interrupted"
fcntl.lockf(lock, fcntl.LOCK_UN)
assert os.waitpid(child, 0)[1] == 0
fcntl.flock(lock, fcntl.LOCK_EX)
raises(errno.EAGAIN, fcntl.flock, os.open("lock", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)

# a device control means nothing here
raises(errno.ENOTTY, fcntl.ioctl, lock, 0x5401, b"\0" * 64)
# unlinked and open
os.unlink("x")
fd = os.open("gone", os.O_CREAT | os.O_RDWR)
os.unlink("gone")
os.write(fd, b"still")
assert os.pread(fd, 5, 0) == b"still" and os.fstat(fd).st_nlink == 0
# names of any bytes
os.mkdir(b"\xff\xfe\x01")
assert b"\xff\xfe\x01" in os.listdir(b".")
raises(errno.ENAMETOOLONG, os.mkdir, "n" * 256)
# many names
for i in range(400):
    open(f"dir2-{i}", "wb").close()
assert len([n for n in os.listdir(".") if n.startswith("dir2-")]) == 400
print("all held")
